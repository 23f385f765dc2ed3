// Draws both dashboards: bundles the page, hands it to Chromium with Grafana's icons, the dashboards' files and Prometheus's answers, and
// photographs it. There is no server: Chromium ends requests whenever a pod on this machine comes or goes.
//
//   draw.mjs DASHBOARDS OUT     in the environment, PROMETHEUS: its address; FROM, TO: seconds; CHROMIUM; THEME (light);
//                               SCRAPE (15s, the interval that the data source is told); WIDTH (1600)
import { readFile } from 'node:fs/promises';
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

async function answer({ pathname, search }) {
  if (pathname === '/') {
    return { contentType: 'text/html', body: page };
  }
  if (pathname.startsWith('/prometheus/')) {
    const found = await fetch(PROMETHEUS + pathname.slice('/prometheus'.length) + search);
    return { status: found.status, contentType: 'application/json', body: await found.text() };
  }
  const [prefix, folder] = Object.entries(folders).find(([start]) => pathname.startsWith(start)) ?? [];
  if (!folder) {
    return { status: 404 };
  }
  const body = await readFile(join(folder, normalize(pathname.slice(prefix.length))));
  return { contentType: types[extname(pathname)] ?? 'application/octet-stream', body };
}

async function draw(browser, dashboard) {
  const tab = await browser.newPage({ viewport: { width: Number(WIDTH), height: 900 }, timezoneId: 'UTC', locale: 'en-US' });
  const faults = [];
  tab.on('pageerror', (error) => faults.push(error.stack ?? String(error)));
  await tab.route('**/*', async (route) => {
    const url = new URL(route.request().url());
    await route.fulfill(
      await answer(url).catch((error) => {
        faults.push(`${url.pathname}: ${error.message}`);
        return { status: 500 };
      })
    );
  });
  const query = new URLSearchParams({ dashboard, from: FROM, to: TO, theme: THEME, scrape: SCRAPE });
  await tab.goto(`http://grafana.invalid/?${query}`);
  await tab.waitForFunction(() => 'drawn' in document.body.dataset || 'failed' in document.body.dataset, null, { timeout: 120_000 });
  await tab.waitForLoadState('networkidle');
  const { drawn, failed } = await tab.evaluate(() => ({ ...document.body.dataset }));
  const path = join(out, `dashboard-${dashboard}.png`);
  await tab.screenshot({ path, fullPage: true });
  if (failed) faults.unshift(failed);
  if (faults.length) throw new Error(`${dashboard}: ${faults.join('\n')}`);
  console.log(`${path}${drawn ? `; without data: ${drawn}` : ''}`);
  await tab.close();
}

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu', '--hide-scrollbars'] });
try {
  for (const dashboard of ['services', 'operator']) await draw(browser, dashboard);
} finally {
  await browser.close();
}
