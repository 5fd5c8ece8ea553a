// A whole system of real processes: Redis, two gateways behind HAProxy, a worker, and the network before them.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { SOON, eventually } from "./eventually.mjs";
import { freePort } from "./port.mjs";
import { Process } from "./process.mjs";
import { Wire } from "./wire.mjs";

export const REPOSITORY = fileURLToPath(new URL("../../..", import.meta.url));
export const JOBCAST = process.env.JOBCAST_BINARY ?? join(REPOSITORY, "target/debug/jobcast");

export class System {
  gateways = [];
  others = [];

  /** Starts it; ready when this resolves. `auth` and `gateway` are TOML, lines of these sections. */
  static async start(settings) {
    const system = new System();
    try {
      await system.#start(settings);
      return system;
    } catch (error) {
      // What was started would keep this process from ending.
      await system.stop(true);
      throw error;
    }
  }

  async #start({ auth = "anonymous = true", gateway = "" } = {}) {
    this.folder = mkdtempSync(join(tmpdir(), "jobcast-browser-"));
    this.ports = await Promise.all([freePort(), freePort()]);
    [this.redisPort, this.balancerPort] = await Promise.all([freePort(), freePort()]);
    this.wire = await Wire.to(this.balancerPort);
    this.url = `http://127.0.0.1:${this.wire.port}`;
    this.config = join(this.folder, "jobcast.toml");
    writeFileSync(this.config, `
[store]
url = "redis://127.0.0.1:${this.redisPort}"
[gateway]
${gateway}
[stream]
retry = "500ms"
reconcile = "1s"
[worker]
input_dir = "${REPOSITORY}/examples"
[tasks.wordcount]
handler = "wordcount"
[tasks.narrate]
handler = "narrate"
[tasks.transcode]
command = ["python3", "${REPOSITORY}/examples/transcode/transcode.py"]
[tasks.shout]
[tasks.remote]
[auth]
${auth}
`);
    this.redis = new Process("redis-server", ["--port", String(this.redisPort), "--save", "", "--dir", this.folder]);
    await eventually("Redis answers", () => this.redisCli("PING") === "PONG");
    this.startGateway(0);
    this.startGateway(1);
    this.run(JOBCAST, ["worker", "--config", this.config]);
    this.run("haproxy", ["-db", "-f", join(REPOSITORY, "examples/loadbalancer/haproxy.cfg")], {
      JOBCAST_LISTEN: `127.0.0.1:${this.balancerPort}`,
      JOBCAST_GATEWAY_1: `127.0.0.1:${this.ports[0]}`,
      JOBCAST_GATEWAY_2: `127.0.0.1:${this.ports[1]}`,
    });
    await this.ready(0);
    await this.ready(1);
    await eventually("the load balancer passes requests", async () => (await fetch(`${this.url}/readyz`)).ok);
  }

  /** Runs a program to the end of the test. */
  run(program, args, env) {
    const process = new Process(program, args, { env, cwd: this.folder });
    this.others.push(process);
    return process;
  }

  startGateway(index) {
    const args = ["gateway", "--config", this.config, "--listen", `127.0.0.1:${this.ports[index]}`];
    this.gateways[index] = new Process(JOBCAST, args, { cwd: this.folder });
  }

  gatewayUrl(index) { return `http://127.0.0.1:${this.ports[index]}`; }

  async ready(index) {
    await eventually(`gateway ${index} is ready`, async () => (await fetch(`${this.gatewayUrl(index)}/readyz`)).ok);
  }

  /** How many streams a gateway has open. */
  async openStreams(index) {
    const metrics = await (await fetch(`${this.gatewayUrl(index)}/metrics`)).text();
    return Number(/^jobcast_open_streams(?:\{.*\})? (\d+)/m.exec(metrics)?.[1] ?? 0);
  }

  redisCli(...args) {
    return execFileSync("redis-cli", ["-p", String(this.redisPort), ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], timeout: SOON }).trim();
  }

  /** The ids of all jobs there are. */
  jobs() {
    const keys = this.redisCli("--scan", "--pattern", "*:job:*").split("\n");
    return keys.filter(Boolean).map((key) => key.split(":job:")[1]);
  }

  /** The key of one thing of a job, such as its `log`. */
  key(what, job) { return `jc:{0.325}:${what}:${job}`; }

  /** Calls the API, past the load balancer; fails unless the status is a good one. */
  async call(method, path, body, headers = {}) {
    const response = await fetch(this.gatewayUrl(0) + path, {
      method,
      headers: { "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  /** All events of an ended job, as any client gets them. */
  async events(job, headers) {
    const text = await (await fetch(`${this.gatewayUrl(0)}/api/jobs/${job}/events`, { headers })).text();
    return [...text.matchAll(/^data: (.*)$/gm)].map((line) => JSON.parse(line[1]));
  }

  /** The texts of an ended job's outputs. */
  async text(job, headers) {
    return (await this.events(job, headers)).map((event) => event.text ?? "").join("");
  }

  /** Stops everything; shows what was said, where the test failed. */
  async stop(failed) {
    const all = [...this.gateways, ...this.others, this.redis].filter(Boolean);
    if (failed) for (const { title, output } of all) console.error(`--- ${title}\n${output.slice(-3000)}`);
    await this.wire?.close();
    await Promise.all(all.map((process) => process.kill()));
    if (this.folder) rmSync(this.folder, { recursive: true, force: true });
  }
}
