import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks';
import { Counter, Gauge, Histogram, Registry } from './registry.ts';

const recordBounds = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const shortSeconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5];

/** Every metric of the product, by name: the one list. `registry.render()` is the page of `GET /metrics`. PROTOCOL section 9. */
export type Metrics = ReturnType<typeof createMetrics>;

/**
 * Makes the metrics of one server. `eventLoop: false` leaves out the event-loop monitor (tests). Call `close()` when the server ends.
 */
export function createMetrics(options: { eventLoop?: boolean } = {}) {
  const registry = new Registry();
  const counter = <L extends string = never>(name: string, help: string, labels: readonly L[] = [], maxSets = 100) =>
    registry.add(new Counter<L>(name, { help, labels, maxSets }));
  const gauge = <L extends string = never>(name: string, help: string, labels: readonly L[] = []) =>
    registry.add(new Gauge<L>(name, { help, labels }));
  const histogram = <L extends string = never>(
    name: string,
    help: string,
    bounds: readonly number[] | undefined,
    labels: readonly L[] = [],
  ) => registry.add(new Histogram<L>(name, bounds === undefined ? { help, labels } : { help, labels, bounds }));

  const metrics = {
    registry,
    runs: counter('mullion_runs_total', 'Ended runs, by terminal phase.', ['pane', 'outcome']),
    tasks: counter('mullion_tasks_total', 'Ended tasks, by status.', ['pane', 'outcome']),
    pictures: gauge(
      'mullion_pictures_looked_up',
      'Pictures that were to be drawn; hit = there was one of the same description.',
      ['result'],
    ),
    phaseSeconds: histogram('mullion_phase_seconds', 'Time spent in a phase.', undefined, ['pane', 'phase']),
    providerQueue: gauge('mullion_provider_queue_length', 'Calls waiting for a slot.', ['host']),
    providerDraining: gauge('mullion_provider_draining', 'Aborted calls whose backend has not stopped yet.', ['host']),
    providerWait: histogram('mullion_provider_wait_seconds', 'Time a call waited for a slot.', undefined, ['host']),
    superseded: counter('mullion_superseded_total', 'Runs ended by a newer one.', ['pane']),
    abortSeconds: histogram('mullion_abort_seconds', 'From supersession to unwound work.', shortSeconds, ['pane']),
    tokens: counter('mullion_tokens_total', 'Tokens, as the engines report them.', ['engine', 'direction']),
    outboxDropped: counter(
      'mullion_outbox_dropped_total',
      'Dropped for slow clients: live frames, record frames (a resync replaced them), connections closed.',
      ['kind'],
    ),
    resyncs: counter('mullion_resyncs_total', 'Snapshots that replaced the queue of a slow client.'),
    commitRecords: histogram('mullion_commit_records', 'Records in one durable write.', recordBounds),
    commitSeconds: histogram('mullion_commit_seconds', 'Time of one durable write.', shortSeconds),
    sessions: gauge('mullion_sessions', 'Sessions.', ['state']),
    connections: gauge('mullion_connections', 'Open connections.', ['transport']),
    // 14 types × 13 results; neither is free text.
    commands: counter(
      'mullion_commands_total',
      'Answered commands; result = ok, duplicate or an error code.',
      ['type', 'result'],
      200,
    ),
    eventLoopDelay: gauge('mullion_event_loop_delay_seconds', 'Event-loop delay since the last reading.', ['quantile']),
    exports: counter(
      'mullion_exports_total',
      'Files of the export folder; aside = an edited file was kept under another name, taken = a name that differs in case only.',
      ['result'],
    ),
    exportsWaiting: gauge('mullion_exports_waiting', 'Sessions whose file is behind.'),
    sealed: gauge('mullion_sealed', '1 while the store cannot be written.'),
    residentBytes: gauge('process_resident_memory_bytes', 'Resident memory.'),
    heapBytes: gauge('nodejs_heap_size_used_bytes', 'Used heap.'),
    cpuSeconds: counter('process_cpu_seconds_total', 'User and system CPU time.'),
    startTime: gauge('process_start_time_seconds', 'Start of the process, seconds since 1970.'),
  };
  const delay = options.eventLoop === false ? undefined : monitorEventLoopDelay({ resolution: 20 });
  delay?.enable();
  metrics.startTime.with({}).set(Math.round(performance.timeOrigin) / 1000);
  registry.collect(() => {
    const memory = process.memoryUsage();
    const cpu = process.cpuUsage();
    metrics.residentBytes.with({}).set(memory.rss);
    metrics.heapBytes.with({}).set(memory.heapUsed);
    metrics.cpuSeconds.with({}).value = (cpu.user + cpu.system) / 1e6;
    if (delay !== undefined) readDelay(delay, metrics.eventLoopDelay);
  });
  return { ...metrics, close: () => delay?.disable() };
}

function readDelay(delay: IntervalHistogram, gauge: Gauge<'quantile'>): void {
  for (const quantile of [0.5, 0.9, 0.99])
    gauge.with({ quantile: String(quantile) }).set(delay.percentile(quantile * 100) / 1e9);
  gauge.with({ quantile: '1' }).set(Math.max(0, delay.max) / 1e9);
  delay.reset();
}
