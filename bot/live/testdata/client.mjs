// A client of live events made of libraries that others wrote:
//   node client.mjs <folder of node_modules> ws|sse <address> <room> <how many events>
// It prints what it gets, a line each, and ends after so many events.
import { createRequire } from 'node:module';

const [folder, transport, address, room, count] = process.argv.slice(2);
const load = createRequire(folder + '/');

let left = Number(count);
const heard = (text, id) => {
  const said = JSON.parse(text);
  console.log(JSON.stringify({ ...said, sse_id: id || undefined }));
  if (said.seq && said.type !== 'subscribed' && --left === 0) process.exit(0);
};

if (transport === 'ws') {
  const { WebSocket } = load('ws');
  const socket = new WebSocket(address);
  socket.on('open', () => socket.send(JSON.stringify({ op: 'subscribe', room })));
  socket.on('message', (text) => heard(text.toString()));
  socket.on('error', (error) => { console.error(String(error)); process.exit(1); });
} else {
  const { EventSource } = load('eventsource');
  const source = new EventSource(`${address}?room=${encodeURIComponent(room)}`);
  source.onmessage = (event) => heard(event.data, event.lastEventId);
  source.onerror = (event) => console.error('broken', event.code ?? '', event.message ?? '');
}
