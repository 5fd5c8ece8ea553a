// A page of another origin: an empty one, whose scripts the test writes.
import { createServer } from "node:http";

export class Origin {
  static async start() {
    const origin = new Origin();
    origin.server = createServer((_, response) => response.setHeader("Content-Type", "text/html").end("<!doctype html><title>another origin</title>"));
    await new Promise((resolve) => origin.server.listen(0, "127.0.0.1", resolve));
    origin.url = `http://127.0.0.1:${origin.server.address().port}`;
    return origin;
  }

  close() { return new Promise((resolve) => { this.server.close(resolve); this.server.closeAllConnections(); }); }
}
