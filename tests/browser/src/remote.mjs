// A worker in the test's hands, over the HTTP worker API: the test writes each event of a job of the task `remote`.
import { eventually } from "./eventually.mjs";

export class Remote {
  static async claim(system, task = "remote") {
    const remote = new Remote();
    const claimed = await eventually("there is a job to claim", () => system.call("POST", "/api/work/claim?wait=5", { tasks: [task] }));
    return Object.assign(remote, { system, job: claimed.jobId, token: claimed.leaseToken });
  }

  async #call(name, fields) {
    await this.system.call("POST", `/api/work/${this.job}/${name}`, { leaseToken: this.token, ...fields });
  }

  text(text) { return this.#call("output", { text }); }
  progress(progress, message = null) { return this.#call("progress", { progress, message }); }
  complete(result) { return this.#call("complete", { result }); }
}
