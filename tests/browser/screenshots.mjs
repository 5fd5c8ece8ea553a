// Takes the README's pictures from the running program: the page in light, in dark and on a phone, and `jobcast watch` in a
// terminal. The first argument is the folder for them.
import { spawn } from "node:child_process";
import { statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";

import { Chromium, Page } from "./src/browser.mjs";
import { eventually } from "./src/eventually.mjs";
import { JOBCAST, REPOSITORY, System } from "./src/system.mjs";
import { Terminal } from "./src/terminal.mjs";

const MOST = 300_000; // bytes a picture
const COLUMNS = 88;
const folder = process.argv[2];

const STILL = { locale: "en-GB", reducedMotion: "reduce" };
const DESKTOP = { ...STILL, viewport: { width: 1200, height: 1060 }, deviceScaleFactor: 1.5 };
const PHONE = { ...STILL, viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

async function shoot(element, name) {
  const path = join(folder, name);
  await element.screenshot({ path });
  const { size } = statSync(path);
  console.log(`${path}: ${Math.ceil(size / 1000)} kB`);
  if (size > MOST) throw new Error(`${path} is too large`);
}

/** The page with jobs that are done, and jobs that run. */
async function page(chromium, system, name, options) {
  const context = await chromium.browser.newContext(options);
  const page = await Page.open(context, system);
  const done = await page.submit("transcode", { input: "sample.mp4", width: 320 });
  await page.shows(done, "status", "Completed");
  await rm(join(REPOSITORY, (await page.seen(done)).at(-1)[2].result.path));
  const counting = await page.submit("wordcount", { path: "data/book.txt", slow: 14 });
  const told = await page.submit("narrate", { tokens: 400, perSecond: 40 });
  await page.grown(told, 1100);
  await page.tab.evaluate((top) => window.scrollTo(0, top), options.isMobile ? 400 : 0);
  await shoot(page.tab, name);
  for (const id of [told, counting]) await system.call("POST", `/api/jobs/${id}/cancel`);
  await context.close();
}

/** What `jobcast watch` shows of two jobs in a terminal, in the middle of them. */
async function watch(chromium, system) {
  const submit = (task, payload) => system.call("POST", "/api/jobs", { task, payload });
  const jobs = [await submit("narrate", { tokens: 120, perSecond: 12 }), await submit("wordcount", { path: "data/book.txt", slow: 12 })];
  const command = `stty cols ${COLUMNS} rows 24; exec '${JOBCAST}' watch --url ${system.url} ${jobs.map(({ jobId }) => jobId).join(" ")}`;
  const child = spawn("script", ["-qfec", command, "/dev/null"], { stdio: ["ignore", "pipe", "ignore"], env: { ...process.env, TERM: "xterm-256color" } });
  const terminal = new Terminal(COLUMNS);
  child.stdout.on("data", (bytes) => terminal.write(bytes));
  await eventually("both bars are in the middle", () => {
    const bars = terminal.text.filter((line) => /\b[56]\d %/.test(line));
    return bars.length === 2;
  });
  const screen = terminal.html;
  child.kill();
  for (const { jobId } of jobs) await system.call("POST", `/api/jobs/${jobId}/cancel`);

  const context = await chromium.browser.newContext({ viewport: { width: 1000, height: 600 }, deviceScaleFactor: 2 });
  const tab = await context.newPage();
  await tab.setContent(`<!doctype html><style>
    body { margin: 0; width: fit-content; background: transparent; }
    main { background: #121a19; color: #d6e0dd; border-radius: 12px; padding: 14px 20px 20px; width: fit-content; }
    i { display: inline-block; width: 11px; height: 11px; border-radius: 50%; margin-right: 7px; background: #3a4744; }
    pre { margin: 12px 0 0; font: 14px/1.5 "JetBrains Mono", "DejaVu Sans Mono", monospace; width: ${COLUMNS}ch; }
    .prompt { color: #4fc7b6; } .bold { font-weight: 700; color: #fff; } .dim { opacity: .6; }
    .red { color: #ff8f85; } .green { color: #5fd38a; } .yellow { color: #e7b45a; } .blue { color: #7ab8ff; } .magenta { color: #d9a0ff; } .cyan { color: #4fc7d8; }
  </style><main><i></i><i></i><i></i><pre><span class="prompt">$</span> jobcast watch $STORY $COUNT\n${screen}</pre></main>`);
  await shoot(tab.locator("main"), "watch.png");
  await context.close();
}

const system = await System.start();
const chromium = await Chromium.start();
try {
  await page(chromium, system, "page-light.png", { ...DESKTOP, colorScheme: "light" });
  await page(chromium, system, "page-dark.png", { ...DESKTOP, colorScheme: "dark" });
  await page(chromium, system, "page-phone.png", { ...PHONE, colorScheme: "light" });
  await watch(chromium, system);
} finally {
  await chromium.close();
  await system.stop();
}
