'use strict';

// .env of this example: one NAME=value a line, readable by its owner alone, never committed.
const fs = require('node:fs');
const path = require('node:path');

const file = path.join(__dirname, '..', '.env');

function read() {
  if (!fs.existsSync(file)) return {};
  const lines = fs.readFileSync(file, 'utf8').split('\n');
  return Object.fromEntries(
    lines
      .filter((line) => line.includes('=') && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])
  );
}

// The process's environment wins, as it does for Strapi.
function get(name) {
  return process.env[name] || read()[name];
}

function add(values) {
  const all = { ...read(), ...values };
  const text = Object.entries(all).map(([name, value]) => `${name}=${value}\n`);
  fs.writeFileSync(file, text.join(''), { mode: 0o600 });
}

module.exports = { add, get, read };
