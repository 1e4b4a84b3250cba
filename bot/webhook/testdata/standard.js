// Signs and verifies with npm's library of Standard Webhooks. The only argument is
// {secret, body, headers}; the only line is what it thinks of the headers, and its own.
const { createRequire } = require('node:module');
const path = require('node:path');
const { Webhook } = createRequire(path.join(process.env.ORACLES, 'x.js'))('standardwebhooks');

const given = JSON.parse(process.argv[2]);
const webhook = new Webhook(given.secret);
const believes = (body) => {
  try {
    webhook.verify(body, given.headers);
    return true;
  } catch {
    return false;
  }
};
const now = new Date();
console.log(JSON.stringify(JSON.stringify({
  believes: believes(given.body),
  believesForged: believes(given.body.replace('G', 'g')),
  signature: webhook.sign('msg_theirs', now, given.body),
  timestamp: Math.floor(now.getTime() / 1000),
})));
