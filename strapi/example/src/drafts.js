'use strict';

// DRAFTS=true turns draft and publish on for every type of this example.
module.exports = process.env.DRAFTS === 'true';
