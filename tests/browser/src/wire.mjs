// The network between the browser and the load balancer, to be broken by the test.
import { connect, createServer } from "node:net";

export class Wire {
  connections = new Set();
  up = true;

  /** Passes what comes to a port of its own on to `target`. */
  static async to(target) {
    const wire = new Wire();
    wire.server = createServer((near) => wire.#carry(near, target));
    await new Promise((resolve) => wire.server.listen(0, "127.0.0.1", resolve));
    wire.port = wire.server.address().port;
    return wire;
  }

  #carry(near, target) {
    const far = connect(target, "127.0.0.1");
    const both = { near, far, dead: !this.up };
    this.connections.add(both);
    for (const [from, to] of [[near, far], [far, near]]) {
      from.setNoDelay(true);
      from.on("data", (bytes) => { if (!both.dead) to.write(bytes); });
      from.on("error", () => {});
      from.on("close", () => { if (!both.dead) to.destroy(); });
    }
    near.on("close", () => { far.destroy(); this.connections.delete(both); });
  }

  /** Every connection breaks, and both ends notice. */
  cut() {
    for (const { near, far } of this.connections) { near.resetAndDestroy(); far.destroy(); }
  }

  /** Nothing passes any more, and nobody notices: what is open stays open, and dead for good. New connections too, until `mend`. */
  unplug() {
    this.up = false;
    this.kill();
  }

  /** What is open is dead, and nobody notices; new connections are as good as ever. */
  kill() {
    for (const both of this.connections) both.dead = true;
  }

  /** New connections pass again. */
  mend() { this.up = true; }

  async close() {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
