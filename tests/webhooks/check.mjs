// Tries docs/WEBHOOKS.md's JavaScript, and the library from npm, on webhooks that Jobcast signed. Arguments: a file of them, a file
// of old ones (one JSON object a line, by `webhook_vectors`).
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Webhook } from "standardwebhooks";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const GUIDE = fileURLToPath(new URL("../../docs/WEBHOOKS.md", import.meta.url));
// Every block of the guide is tried below.
const BLOCKS = ["verify.mjs", "verify-with-library.mjs", "receiver.mjs", "simplest.mjs"];
const SOON = 60_000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function extract(folder) {
  const text = readFileSync(GUIDE, "utf8");
  const blocks = [...text.matchAll(/^```js\n\/\/ (\S+)\n(.*?)^```$/gms)];
  assert.deepEqual(blocks.map(([, name]) => name), BLOCKS);
  assert.equal(text.split("```js").length - 1, BLOCKS.length, "each block has its name");
  for (const [, name, code] of blocks) writeFileSync(folder + name, code);
}

function vector(line) {
  const { secrets, headers, body } = JSON.parse(line);
  return { secrets, headers, body: Buffer.from(body) };
}

/** What must be refused: what was changed, the headers and the body. */
function altered({ headers, body }) {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature } = headers;
  const without = (name) => Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name));
  const other = (letter, a, b) => (letter === a ? b : a);
  const others = signature.split(" ").map((one) => one.slice(0, 3) + other(one[3], "A", "B") + one.slice(4));
  return [
    ["a longer body", headers, Buffer.concat([body, Buffer.from(" ")])],
    ["a shorter body", headers, body.subarray(0, -1)],
    ["another body", headers, Buffer.from(body.toString().replace("job.", "jab."))],
    ["another id", { ...headers, "webhook-id": id.slice(0, -1) + other(id.at(-1), "0", "1") }, body],
    ["another time", { ...headers, "webhook-timestamp": String(Number(timestamp) + 1) }, body],
    ["no time", { ...headers, "webhook-timestamp": "now" }, body],
    ["another signature", { ...headers, "webhook-signature": others.join(" ") }, body],
    ["another version", { ...headers, "webhook-signature": signature.replaceAll("v1,", "v2,") }, body],
    ["half a signature", { ...headers, "webhook-signature": signature.slice(0, 20) }, body],
    ...["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => [`no ${name}`, without(name), body]),
  ];
}

/** The library as it is, with each secret on its own: during a rotation both verify. */
function library(headers, body, secrets) {
  for (const secret of secrets) {
    const webhook = secret.startsWith("whsec_") ? new Webhook(secret) : new Webhook(Buffer.from(secret), { format: "raw" });
    assert.deepEqual(webhook.verify(body, headers), JSON.parse(body));
  }
  return headers["webhook-id"];
}

function takes(verify, vectors) {
  for (const { headers, body, secrets } of vectors) {
    const choices = [secrets, ...secrets.map((secret) => [secret])];
    if (verify !== library) choices.push(["hush", ...secrets]);
    for (const choice of choices) assert.equal(verify(headers, body, choice), headers["webhook-id"]);
  }
}

function refusesAltered(verify, vectors, old) {
  for (const vector of vectors) {
    for (const [what, headers, body] of altered(vector)) {
      assert.throws(() => verify(headers, body, vector.secrets), `${what} was taken`);
    }
    assert.throws(() => verify(vector.headers, vector.body, ["hush"]), "another secret was taken");
  }
  for (const { headers, body, secrets } of old) {
    assert.throws(() => verify(headers, body, secrets), "an old one was taken");
  }
}

function simplest(verify, vectors) {
  for (const { headers, body, secrets } of vectors) {
    assert(verify(headers, body, secrets[0]));
    assert(!verify(headers, Buffer.concat([body, Buffer.from(" ")]), secrets[0]));
    assert(!verify(headers, body, "hush") && !verify({}, body, secrets[0]));
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** Posts, as soon as somebody listens. */
async function post(port, headers, body) {
  for (const end = Date.now() + SOON; ; await sleep(50)) {
    try {
      return (await fetch(`http://127.0.0.1:${port}/`, { method: "POST", headers, body })).status;
    } catch (error) {
      if (Date.now() > end) throw error;
    }
  }
}

async function receiver(folder, all) {
  const vectors = all.slice(0, 20);
  const port = await freePort();
  const secrets = vectors.flatMap(({ secrets }) => secrets).join(" ");
  const env = { ...process.env, PORT: String(port), WEBHOOK_SECRET: secrets };
  const child = spawn(process.execPath, [folder + "receiver.mjs"], { env, stdio: ["ignore", "pipe", "inherit"] });
  try {
    let said = "";
    child.stdout.on("data", (piece) => (said += piece));
    for (const vector of vectors) {
      for (let n = 0; n < 2; n++) assert.equal(await post(port, vector.headers, vector.body), 204);
      for (const [what, headers, body] of altered(vector)) assert.equal(await post(port, headers, body), 401, what);
    }
    const line = ({ body }) => {
      const { task, id, status } = JSON.parse(body).data;
      return `${task} ${id} ${status}\n`;
    };
    const expected = vectors.map(line).join("");
    for (const end = Date.now() + SOON; said.length < expected.length && Date.now() < end; ) await sleep(50);
    assert.equal(said, expected, "each once, in order");
  } finally {
    child.kill("SIGKILL");
  }
}

const [vectors, old] = process.argv.slice(2).map((file) => readFileSync(file, "utf8").trim().split("\n").map(vector));
assert(vectors.length >= 200 && old.length > 0, "there are vectors");
// Within this folder, so that the library is found.
const folder = mkdtempSync(HERE + ".blocks-") + "/";
const sum = { passed: 0, failed: 0 };
try {
  extract(folder);
  const load = async (name) => (await import(pathToFileURL(folder + name))).verify;
  const checks = [
    ["simplest.mjs", async () => simplest(await load("simplest.mjs"), vectors)],
    ["receiver.mjs", () => receiver(folder, vectors)],
  ];
  const own = ["verify.mjs", "verify-with-library.mjs"];
  for (const name of ["the library", ...own]) {
    const verify = own.includes(name) ? await load(name) : library;
    checks.push([`${name} takes all`, () => takes(verify, vectors)]);
    checks.push([`${name} refuses all altered`, () => refusesAltered(verify, vectors, old)]);
  }
  for (const [name, check] of checks) {
    try {
      await check();
      sum.passed++;
    } catch (error) {
      sum.failed++;
      console.log(`FAILED webhooks, JavaScript: ${name}: ${error.message}`);
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
console.log(`webhooks, JavaScript: ${sum.passed} passed, ${sum.failed} failed`);
process.exitCode = sum.failed || !sum.passed ? 1 : 0;
