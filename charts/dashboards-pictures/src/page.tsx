// One dashboard as a page. In: the address, `?dashboard=services&from=SECONDS&to=SECONDS&theme=light&scrape=5s`. Out: the page; `data-drawn` on its
// body once every panel is there, `data-failed` with what went wrong.

import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import '@fontsource/roboto-mono/400.css';

import { createTheme, type DataFrame, dateTime, type TimeRange } from '@grafana/data';
import { GlobalStyles, Icon, type IconName, PanelChrome, ThemeContext, useTheme2 } from '@grafana/ui';
import { createRoot } from 'react-dom/client';

import { choose, type Chosen, type Dashboard, type Panel } from './dashboard';
import { prepare } from './fields';
import { Drawn } from './panels';
import { query } from './prometheus';

// Grafana's grid
const COLUMNS = 24;
const CELL = 30;
const GAP = 8;
const MARGIN = 16;

// the names that dashboards have for the icons of their links
const ICONS: Record<string, IconName> = { 'external link': 'external-link-alt', dashboard: 'apps', doc: 'document-info' };

const parameters = new URLSearchParams(location.search);
const width = document.documentElement.clientWidth - 2 * MARGIN;

interface Filled {
  panel: Panel;
  frames: DataFrame[];
}

function box({ gridPos: { x, y, w, h } }: Panel) {
  const column = (width + GAP) / COLUMNS;
  return { left: x * column, top: y * (CELL + GAP), width: w * column - GAP, height: h * (CELL + GAP) - GAP };
}

function Row({ panel }: { panel: Panel }) {
  const theme = useTheme2();
  const style = { ...box(panel), position: 'absolute', display: 'flex', alignItems: 'center', gap: 8 } as const;
  return (
    <div style={{ ...style, fontSize: theme.typography.h5.fontSize, fontWeight: theme.typography.fontWeightMedium }}>
      <Icon name="angle-down" /> {panel.title}
    </div>
  );
}

function Cell({ panel, frames, range }: Filled & { range: TimeRange }) {
  const place = box(panel);
  return (
    <div style={{ ...place, position: 'absolute' }}>
      <PanelChrome width={place.width} height={place.height} title={panel.title} description={panel.description}>
        {(width, height) => <Drawn panel={panel} frames={frames} range={range} width={width} height={height} />}
      </PanelChrome>
    </div>
  );
}

function Boxed({ label, children }: { label?: string; children: React.ReactNode }) {
  const { colors, shape, spacing, typography } = useTheme2();
  const part = { padding: spacing(0.5, 1), border: `1px solid ${colors.border.weak}`, borderRadius: shape.radius.default } as const;
  return (
    <span style={{ display: 'inline-flex', fontSize: typography.bodySmall.fontSize }}>
      {label && <span style={{ ...part, background: colors.background.secondary, fontWeight: typography.fontWeightMedium }}>{label}</span>}
      <span style={{ ...part, background: colors.background.primary, display: 'inline-flex', gap: 6 }}>{children}</span>
    </span>
  );
}

function Header({ dashboard, variables, range }: { dashboard: Dashboard; variables: Chosen[]; range: TimeRange }) {
  const line = { display: 'flex', gap: GAP, alignItems: 'center', height: 40 } as const;
  const time = (at: TimeRange['from']) => at.utc().format('YYYY-MM-DD HH:mm:ss');
  return (
    <>
      <div style={line}>
        <span style={{ flexGrow: 1 }}>
          Dashboards <Icon name="angle-right" /> {dashboard.title}
        </span>
        <Boxed>
          <Icon name="clock-nine" /> {time(range.from)} to {time(range.to)} UTC
        </Boxed>
        <Boxed>
          <Icon name="sync" /> {dashboard.refresh}
        </Boxed>
      </div>
      <div style={line}>
        {variables.map(({ name, label, shown }) => (
          <Boxed key={name} label={label}>
            {shown} <Icon name="angle-down" />
          </Boxed>
        ))}
        <span style={{ flexGrow: 1 }} />
        {dashboard.links.map(({ title, icon }) => (
          <Boxed key={title}>
            <Icon name={ICONS[icon]} /> {title}
          </Boxed>
        ))}
      </div>
    </>
  );
}

function Page({ dashboard, variables, panels, range }: { dashboard: Dashboard; variables: Chosen[]; panels: Filled[]; range: TimeRange }) {
  const { colors } = useTheme2();
  const bottom = Math.max(...panels.map(({ panel }) => box(panel).top + box(panel).height));
  return (
    <div style={{ padding: `0 ${MARGIN}px ${MARGIN}px`, background: colors.background.canvas }}>
      <Header dashboard={dashboard} variables={variables} range={range} />
      <div style={{ position: 'relative', height: bottom }}>
        {panels.map(({ panel, frames }) =>
          panel.type === 'row' ? <Row key={panel.id} panel={panel} /> : <Cell key={panel.id} panel={panel} frames={frames} range={range} />
        )}
      </div>
    </div>
  );
}

async function main() {
  const wanted = (name: string) => parameters.get(name) ?? '';
  const theme = createTheme({ colors: { mode: wanted('theme') === 'dark' ? 'dark' : 'light' } });
  const [from, to] = ['from', 'to'].map((name) => dateTime(Number(wanted(name)) * 1000));
  const range = { from, to, raw: { from, to } };
  const dashboard: Dashboard = await (await fetch(`/dashboards/${wanted('dashboard')}.json`)).json();
  const variables = await choose(dashboard);
  const panels = await Promise.all(
    dashboard.panels.map(async (panel) => {
      const frames = await query(panel, variables, range, box(panel).width, wanted('scrape'));
      return { panel, frames: panel.type === 'row' ? [] : await prepare(panel, frames, theme) };
    })
  );
  document.title = dashboard.title;
  createRoot(document.getElementById('page')!).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Page dashboard={dashboard} variables={variables} panels={panels} range={range} />
    </ThemeContext.Provider>
  );
  await document.fonts.ready;
  const empty = panels.filter(({ panel, frames }) => panel.type !== 'row' && !frames.some((frame) => frame.length > 0));
  document.body.dataset.drawn = empty.map(({ panel }) => panel.title).join(', ');
}

main().catch((error: unknown) => {
  document.body.dataset.failed = String(error instanceof Error ? error.stack : error);
});
