// Ports for servers of the tests.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";

// Below those that systems give to outgoing connections (a server that is down for a moment finds its port free when it comes back), and
// below those of the tests in Rust; above the last one that browsers, and Node's fetch, refuse (6697).
const [FIRST, END] = [7_000, 10_000];

/** Whether it comes to listen where it was told to. */
const listens = (server) => once(server, "listening").then(() => true, () => false);

/** Reserves it against other test processes for as long as this one lives: by UDP's port of the same number, which nothing here listens on. */
async function reserve(port) {
  const socket = createSocket("udp4");
  socket.bind({ port, address: "127.0.0.1", exclusive: true });
  socket.unref();
  return listens(socket);
}

async function isFree(port) {
  const server = createServer();
  server.listen(port, "127.0.0.1");
  const free = await listens(server);
  if (free) {
    server.close();
    await once(server, "close");
  }
  return free;
}

/** A port of 127.0.0.1 on which nothing listens, and which no other call in any process gets while this process lives. */
export async function freePort() {
  for (let tries = 0; tries < 1_000; tries++) {
    const port = FIRST + Math.floor(Math.random() * (END - FIRST));
    if (await reserve(port) && await isFree(port)) return port;
  }
  throw new Error(`there is no free port from ${FIRST} to ${END - 1}`);
}
