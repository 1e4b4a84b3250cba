// An app behind express-rate-limit, as the original service had it, on loopback. Its
// clock stands still; GET /next moves it to the next window.
const { createRequire } = require('node:module');
const path = require('node:path');
const { mock } = require('node:test');
const from = createRequire(path.join(process.env.ORACLES, 'x.js'));
const express = from('express');
const { rateLimit } = from('express-rate-limit');

const windowMs = 60_000;
mock.timers.enable({ apis: ['Date', 'setInterval'] });
const app = express();
app.get('/next', (request, response) => {
  mock.timers.tick(windowMs);
  response.end();
});
app.get('/', rateLimit({ windowMs, limit: 100, legacyHeaders: false }), (request, response) => response.end('ok'));
const server = app.listen(0, '127.0.0.1', () => console.log(JSON.stringify(`http://127.0.0.1:${server.address().port}`)));
