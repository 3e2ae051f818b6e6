'use strict';

const { createServer } = require('node:http');
const { once } = require('node:events');

/**
 * A receiver of webhooks on loopback. `answer` writes the answer to the request
 * of that number, counted from 1, and gets whether its delivery came before;
 * by default 202.
 */
async function startReceiver(t, answer = (_, res) => res.writeHead(202).end()) {
  const requests = [];
  const server = createServer(async (req, res) => {
    const chunks = [];
    for await (const chunk of req) chunks.push(chunk);
    const again = requests.some(({ headers }) => headers['webhook-id'] === req.headers['webhook-id']);
    requests.push({ method: req.method, path: req.url, headers: req.headers, body: Buffer.concat(chunks) });
    server.emit('received');
    answer(requests.length, res, again);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = async () => {
    if (!server.listening) return;
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  t.after(stop);
  return {
    url: `http://127.0.0.1:${server.address().port}/hooks`,
    port: server.address().port,
    requests,
    stop,
    /** Waits for that many requests; the test runner's timeout is the limit. */
    async received(count) {
      while (requests.length < count) await once(server, 'received');
      return requests;
    },
  };
}

module.exports = { startReceiver };
