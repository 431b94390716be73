import { describe, expect, it, onTestFinished } from 'vitest';
import { Counter, Gauge, Histogram, Registry } from '../../src/server/registry.ts';
import { createMetrics } from '../../src/server/telemetry.ts';

describe('the registry', () => {
  it('renders the text format 0.0.4', () => {
    const registry = new Registry();
    const counter = registry.add(new Counter('a_total', { help: 'A.', labels: ['x'] as const }));
    const gauge = registry.add(new Gauge('b', { help: 'B.' }));
    const histogram = registry.add(
      new Histogram('c_seconds', { help: 'C.', labels: ['y'] as const, bounds: [0.1, 1] }),
    );
    counter.with({ x: 'quote " slash \\ line\n' }).add(2);
    gauge.with({}).set(-1.5);
    for (const value of [0.1, 0.5, 7]) histogram.with({ y: '1' }).observe(value);
    expect(registry.render()).toBe(
      [
        '# HELP a_total A.',
        '# TYPE a_total counter',
        String.raw`a_total{x="quote \" slash \\ line\n"} 2`,
        '# HELP b B.',
        '# TYPE b gauge',
        'b -1.5',
        '# HELP c_seconds C.',
        '# TYPE c_seconds histogram',
        'c_seconds_bucket{y="1",le="0.1"} 1',
        'c_seconds_bucket{y="1",le="1"} 2',
        'c_seconds_bucket{y="1",le="+Inf"} 3',
        'c_seconds_sum{y="1"} 7.6',
        'c_seconds_count{y="1"} 3',
        '',
      ].join('\n'),
    );
  });

  it('counts what is beyond the bound of label sets under other', () => {
    const counter = new Counter('a_total', { help: '', labels: ['x'] as const, maxSets: 2 });
    for (const x of ['1', '2', '3', '4', '1']) counter.with({ x }).add();
    expect(counter.render().split('\n').slice(2)).toEqual([
      'a_total{x="1"} 2',
      'a_total{x="2"} 1',
      'a_total{x="other"} 2',
      '',
    ]);
  });

  it('shows 0 for a metric without labels from the start', () => {
    expect(new Gauge('g', { help: '' }).render()).toContain('\ng 0\n');
  });

  it('refuses a second metric of the same name', () => {
    const registry = new Registry();
    registry.add(new Gauge('g', { help: '' }));
    expect(() => registry.add(new Gauge('g', { help: '' }))).toThrow(/exists already/);
  });
});

describe('the metrics of the product', () => {
  it('are all there under their names, with the event-loop delay and the process', async () => {
    const metrics = createMetrics();
    onTestFinished(() => void metrics.close());
    metrics.runs.with({ pane: 'scene', outcome: 'updated' }).add();
    await new Promise((resolve) => void setImmediate(resolve));
    const page = metrics.registry.render();
    for (const name of [
      'mullion_runs_total',
      'mullion_phase_seconds',
      'mullion_provider_queue_length',
      'mullion_provider_wait_seconds',
      'mullion_superseded_total',
      'mullion_abort_seconds',
      'mullion_tokens_total',
      'mullion_outbox_dropped_total',
      'mullion_resyncs_total',
      'mullion_commit_records',
      'mullion_commit_seconds',
      'mullion_sessions',
      'mullion_connections',
      'mullion_commands_total',
      'mullion_event_loop_delay_seconds',
      'mullion_sealed',
    ])
      expect(page).toContain(`# TYPE ${name} `);
    expect(page).toContain('mullion_runs_total{pane="scene",outcome="updated"} 1');
    expect(page).toMatch(/mullion_event_loop_delay_seconds\{quantile="0\.99"\} [\d.e-]+\n/);
    expect(page).toMatch(/process_resident_memory_bytes \d{7,}/);
    for (const line of page.trimEnd().split('\n'))
      expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\})? (NaN|[-+]?[\d.e+-]+))$/);
  });
});
