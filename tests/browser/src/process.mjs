// Child processes, none of which outlives the test.
import { spawn } from "node:child_process";

const running = new Set();
process.on("exit", () => { for (const child of running) child.kill("SIGKILL"); });
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** A process whose output is kept, to be shown when something fails. */
export class Process {
  constructor(program, args, { env = {}, cwd } = {}) {
    this.title = [program.split("/").pop(), ...args].join(" ");
    this.output = "";
    // Settings of whoever runs the tests are not the tests' settings.
    const own = Object.entries(process.env).filter(([name]) => !name.startsWith("JOBCAST_"));
    this.child = spawn(program, args, { env: { ...Object.fromEntries(own), ...env }, cwd, stdio: ["ignore", "pipe", "pipe"] });
    running.add(this.child);
    this.ended = new Promise((resolve) => {
      this.child.on("exit", resolve);
      this.child.on("error", (error) => { this.output += error; resolve(); });
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.on("data", (bytes) => { this.output = (this.output + bytes).slice(-20_000); });
    }
  }

  /** SIGKILL by default, and it is gone when this resolves. */
  async kill(signal = "SIGKILL") {
    this.child.kill(signal);
    await this.ended;
    running.delete(this.child);
  }
}
