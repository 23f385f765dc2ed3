// The three kinds of panel that the dashboards have. In: frames, options and a size. Out: Grafana's own components, put together as Grafana's
// panels put them together.

import { type DataFrame, getDisplayValueAlignmentFactors, getFieldDisplayValues, type TimeRange } from '@grafana/data';
import {
  BigValue,
  BigValueGraphMode,
  Table,
  TimeSeries,
  useTheme2,
  VizRepeater,
  type VizRepeaterRenderValueProps,
} from '@grafana/ui';
import type { DisplayValueAlignmentFactors, FieldDisplay } from '@grafana/data';

import { type Panel } from './dashboard';
import { fieldConfig } from './fields';

interface Props {
  panel: Panel;
  frames: DataFrame[];
  range: TimeRange;
  width: number;
  height: number;
}

function Graph({ panel, frames, range, width, height }: Props) {
  return (
    <TimeSeries
      frames={frames}
      structureRev={1}
      timeRange={range}
      timeZone="utc"
      width={width}
      height={height}
      legend={{ calcs: [], ...panel.options.legend }}
      options={panel.options}
    />
  );
}

function Stat({ panel, frames, width, height }: Props) {
  const theme = useTheme2();
  const { options } = panel;
  const values = () =>
    getFieldDisplayValues({
      fieldConfig: fieldConfig(panel),
      reduceOptions: options.reduceOptions,
      replaceVariables: (text) => text,
      theme,
      data: frames,
      sparkline: options.graphMode !== BigValueGraphMode.None,
      timeZone: 'utc',
    });
  const one = ({ value, alignmentFactors, width, height, count }: VizRepeaterRenderValueProps<FieldDisplay, DisplayValueAlignmentFactors>) => (
    <BigValue
      value={value.display}
      count={count}
      sparkline={value.sparkline}
      colorMode={options.colorMode}
      graphMode={options.graphMode}
      justifyMode={options.justifyMode}
      textMode={options.textMode}
      alignmentFactors={alignmentFactors}
      text={options.text}
      width={width}
      height={height}
      theme={theme}
    />
  );
  return (
    <VizRepeater
      getValues={values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={one}
      width={width}
      height={height}
      source={frames}
      itemSpacing={3}
      renderCounter={0}
      autoGrid
      orientation={options.orientation}
    />
  );
}

function Rows({ panel, frames, range, width, height }: Props) {
  const { showHeader, cellHeight, sortBy } = panel.options;
  return (
    <Table
      data={frames[0]}
      width={width}
      height={height}
      noHeader={!showHeader}
      cellHeight={cellHeight}
      initialSortBy={sortBy}
      timeRange={range}
      resizable
    />
  );
}

const KINDS: Record<string, (props: Props) => JSX.Element> = { timeseries: Graph, stat: Stat, table: Rows };

export function Drawn(props: Props) {
  const { panel, frames, height } = props;
  if (!frames.some((frame) => frame.length > 0)) {
    // as Grafana says it; a table keeps its frame
    return <div style={{ height, display: 'grid', placeItems: 'center' }}>{panel.fieldConfig.defaults.noValue ?? 'No data'}</div>;
  }
  const Kind = KINDS[panel.type];
  if (!Kind) {
    throw new Error(`the page draws no ${panel.type}: ${panel.title}`);
  }
  return <Kind {...props} />;
}
