// Draws both dashboards: bundles the page, serves it beside Grafana's icons, the dashboards' files and Prometheus, and photographs it.
//
//   draw.mjs DASHBOARDS OUT     in the environment, PROMETHEUS: its address; FROM, TO: seconds; CHROMIUM; THEME (light);
//                               SCRAPE (15s, the interval that the data source is told); WIDTH (1600)
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';
import { chromium } from 'playwright-core';

const here = dirname(fileURLToPath(import.meta.url));
const { PROMETHEUS, FROM, TO, CHROMIUM, THEME = 'light', SCRAPE = '15s', WIDTH = '1600' } = process.env;
const [dashboards, out] = process.argv.slice(2);

const bundle = join(here, 'page');
await build({
  entryPoints: [join(here, 'src/page.tsx')],
  outdir: bundle,
  bundle: true,
  format: 'esm',
  jsx: 'automatic',
  alias: { 'react-custom-scrollbars-2': join(here, 'src/scrollbars.js') },
  define: { 'process.env.NODE_ENV': '"production"' },
  loader: { '.svg': 'dataurl', '.png': 'dataurl', '.ttf': 'file', '.woff': 'file', '.woff2': 'file' },
  logLevel: 'warning',
});

const folders = {
  '/page/': bundle,
  '/dashboards/': dashboards,
  '/public/build/img/': join(here, 'node_modules/@grafana/ui/dist/public/img'),
};
const types = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json' };
const page = `<!doctype html><html><head><meta charset="utf-8"><link rel="stylesheet" href="/page/page.css"></head>
<body style="margin:0"><div id="page"></div><script>window.__grafana_public_path__ = '/public/'</script>
<script type="module" src="/page/page.js"></script></body></html>`;

const server = createServer(async (request, response) => {
  const { pathname, search } = new URL(request.url, 'http://localhost');
  try {
    if (pathname === '/') {
      response.writeHead(200, { 'Content-Type': 'text/html' }).end(page);
      return;
    }
    if (pathname.startsWith('/prometheus/')) {
      const answer = await fetch(PROMETHEUS + pathname.slice('/prometheus'.length) + search);
      response.writeHead(answer.status, { 'Content-Type': 'application/json' }).end(await answer.text());
      return;
    }
    const [prefix, folder] = Object.entries(folders).find(([prefix]) => pathname.startsWith(prefix)) ?? [];
    const file = folder && join(folder, normalize(pathname.slice(prefix.length)));
    if (!file || !(await stat(file)).isFile()) throw new Error('no such file');
    response.writeHead(200, { 'Content-Type': types[extname(file)] ?? 'application/octet-stream' });
    createReadStream(file).pipe(response);
  } catch (error) {
    response.writeHead(404).end(String(error));
  }
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu', '--hide-scrollbars'] });
let failed = false;
for (const dashboard of ['services', 'operator']) {
  const tab = await browser.newPage({ viewport: { width: Number(WIDTH), height: 900 }, timezoneId: 'UTC', locale: 'en-US' });
  const said = [];
  tab.on('pageerror', (error) => said.push(String(error.stack ?? error)));
  const query = new URLSearchParams({ dashboard, from: FROM, to: TO, theme: THEME, scrape: SCRAPE });
  await tab.goto(`http://127.0.0.1:${server.address().port}/?${query}`);
  await tab.waitForFunction(() => 'drawn' in document.body.dataset || 'failed' in document.body.dataset, null, { timeout: 60_000 });
  await tab.waitForLoadState('networkidle');
  const { drawn, failed: why } = await tab.evaluate(() => ({ ...document.body.dataset }));
  if (why || said.length) {
    failed = true;
    console.error(`${dashboard}: ${[why, ...said].filter(Boolean).join('\n')}`);
  }
  const path = join(out, `dashboard-${dashboard}.png`);
  await tab.screenshot({ path, fullPage: true });
  console.log(`${path}${drawn ? `; without data: ${drawn}` : ''}`);
  await tab.close();
}
await browser.close();
server.close();
process.exitCode = failed ? 1 : 0;
