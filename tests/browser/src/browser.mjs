// Chromium, and a page of Jobcast in it.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";

import { chromium } from "playwright-core";

import { SOON } from "./eventually.mjs";

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
];

function program() {
  const folders = (process.env.PATH ?? "").split(":");
  const names = ["chromium", "chromium-browser", "google-chrome"];
  const found = names.flatMap((name) => folders.map((folder) => `${folder}/${name}`)).find((path) => existsSync(path));
  if (!found) throw new Error("there is no Chromium: scripts/setup chromium");
  return found;
}

/** Waits by the clock until `condition` holds in the tab. By each frame, as Playwright does, all of them are drawn, without a graphics card. */
export function holds(tab, condition, argument) {
  return tab.waitForFunction(condition, argument, { polling: 100 });
}

/** A headless Chromium with a profile of its own, which is gone when it is closed. */
export class Chromium {
  static async start() {
    const one = new Chromium();
    one.server = await chromium.launchServer({ executablePath: program(), args: FLAGS });
    one.browser = await chromium.connect(one.server.wsEndpoint());
    return one;
  }

  /** A profile of its own. Nobody looks: without a graphics card the page's animations cost more than all else that it does. */
  context() { return this.browser.newContext({ reducedMotion: "reduce" }); }

  /** All of its processes stop, as those of a machine that sleeps, until `wake`. */
  sleep() { this.#signal("SIGSTOP"); }
  wake() { this.#signal("SIGCONT"); }

  #signal(signal) {
    const lines = execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" }).trim().split("\n");
    const parents = lines.map((line) => line.trim().split(/\s+/).map(Number));
    const family = [this.server.process().pid];
    for (const parent of family) family.push(...parents.filter(([, ppid]) => ppid === parent).map(([pid]) => pid));
    for (const pid of family) process.kill(pid, signal);
  }

  async close() {
    await this.browser.close();
    await this.server.close();
  }
}

/** Keeps what every EventSource of the page fires with data, in `window.seen`: [name, id, data]. */
function record() {
  window.seen = [];
  window.EventSource = class extends EventSource {
    addEventListener(name, listener) {
      super.addEventListener(name, (event) => {
        if (event.data !== undefined) window.seen.push([name, event.lastEventId, JSON.parse(event.data)]);
        listener(event);
      });
    }
  };
}

/** The page at `/` of a system, in a tab. */
export class Page {
  /** What went wrong in the page itself. */
  complaints = [];

  static async open(context, system) {
    const page = new Page();
    page.tab = await context.newPage();
    page.tab.setDefaultTimeout(SOON);
    page.tab.on("pageerror", (error) => page.complaints.push(String(error)));
    await page.tab.addInitScript(record);
    await page.tab.goto(`${system.url}/`);
    return page;
  }

  /** Fills the form and sends it; the id of the job that it made. `payload` as JSON, unless the example's will do. */
  async submit(task, payload) {
    const { tab } = this;
    const before = await tab.locator(".job .id").allTextContents();
    const radio = tab.getByRole("radio", { name: task, exact: true });
    if (await radio.count()) {
      await radio.check();
    } else {
      await tab.getByRole("radio", { name: "other…" }).check();
      await tab.getByLabel("Name of the task").fill(task);
    }
    if (payload !== undefined) await tab.getByLabel("Payload (JSON)").fill(JSON.stringify(payload, null, 2));
    await tab.getByRole("button", { name: "Submit" }).click();
    const id = await holds(tab, (known) => {
      const first = document.querySelector(".job .id")?.textContent;
      return first && !known.includes(first) && first;
    }, before);
    return id.jsonValue();
  }

  card(id) { return this.tab.locator(".job", { has: this.tab.locator(".id", { hasText: id }) }); }

  /** What the card shows in its part of this class, once it matches. */
  async shows(id, part, pattern, timeout = SOON) {
    const element = this.card(id).locator(`.${part}`).filter({ hasText: pattern });
    await element.waitFor({ state: "attached", timeout });
    return element.textContent();
  }

  text(id) { return this.card(id).locator(".text").textContent(); }

  /** Waits until so many characters of text are there. */
  async grown(id, characters) {
    await holds(
      this.tab,
      ([id, characters]) => [...document.querySelectorAll(".job")].find((job) => job.textContent.includes(id))?.querySelector(".text").textContent.length >= characters,
      [id, characters],
    );
  }

  /** The events of a job that this load of the page was told: [name, id, data]. */
  async seen(id) {
    return (await this.tab.evaluate(() => window.seen)).filter(([, , data]) => data.jobId === id);
  }
}
