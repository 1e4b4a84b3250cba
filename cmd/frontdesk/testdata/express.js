// A webhook as many write it: Express, express-rate-limit, multer. It keeps nothing; it
// stands beside ours in make bench. Its packages are in ORACLES.
const from = (name) => require(require.resolve(name, { paths: [process.env.ORACLES] }));
const express = from("express"), { rateLimit } = from("express-rate-limit"), multer = from("multer");
const app = express();
app.use(rateLimit({ windowMs: 60_000, limit: 10_000_000 }));
app.use(express.json());
let count = 0;
app.all("/webhook/:id", multer().any(), (request, response) => response.status(202).json({ execution_id: ++count }));
const server = app.listen(0, "127.0.0.1", () => console.log(JSON.stringify(`http://127.0.0.1:${server.address().port}/webhook/x`)));
