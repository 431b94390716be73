import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openDiskAssets } from '../adapters/assets-disk.ts';
import { openSqliteJournal } from '../adapters/journal-sqlite.ts';
import { historyPane, replyPane, scenePane } from '../panes/index.ts';
import type { PaneDefinition } from '../panes/define.ts';
import type { Assets } from '../ports/assets.ts';
import type { Clock, Ids } from '../ports/clock.ts';
import type { Journal } from '../ports/journal.ts';
import type { ImageModel, TextModel } from '../ports/models.ts';
import type { PaneOptions } from '../protocol/records.ts';
import { systemClock, systemIds } from './clock.ts';
import type { Config } from './config/config.ts';
import { imageEngine, preloadEngines, textEngine } from './engines.ts';
import { createLimits } from './limits.ts';
import { silentLogger, type Logger } from './logger.ts';
import { packageRoot } from './package-root.ts';
import { createHttpEdge, type HttpEdge } from './transport/server.ts';
import { Sessions } from './sessions/sessions.ts';
import { createMetrics, type Metrics } from './telemetry.ts';

/** What takes the place of the configured parts: tests and embedders bring their own. */
export interface Parts {
  logger?: Logger;
  journal?: Journal;
  assets?: Assets;
  text?: TextModel;
  image?: ImageModel;
  clock?: Clock;
  ids?: Ids;
  /** Panes besides reply, history and scene. */
  panes?: readonly PaneDefinition[];
}

/** A server that is wired and not yet listening. */
export interface Composed {
  readonly sessions: Sessions;
  readonly edge: HttpEdge;
  readonly metrics: Metrics;
  /** Listens, then goes on with unfinished sessions. Resolves with `http://HOST:PORT` as soon as it listens. */
  listen(): Promise<string>;
  /** Stops in order: readiness 503, running stages get `graceMs` (default 1500) to end, all is flushed, sockets close 1012. */
  close(graceMs?: number): Promise<void>;
}

const expireEveryMs = 600_000;

/** Wires one server from its configuration. Throws JournalError when the data folder cannot be used. */
export async function compose(config: Config, parts: Parts = {}): Promise<Composed> {
  const clock = parts.clock ?? systemClock;
  const logger = parts.logger ?? silentLogger;
  const metrics = createMetrics();
  const journal = parts.journal ?? openJournal(config, metrics);
  const assets = parts.assets ?? (await openDiskAssets(join(config.data, 'assets')));
  const limits = createLimits(
    {
      hosts: config.limits.hosts,
      default: config.limits.default,
      maxWaiting: config.limits.maxWaiting,
      observe: ({ host, waitMs }) => metrics.providerWait.with({ host }).observe(waitMs / 1_000),
    },
    clock,
  );
  let stored = 0;
  metrics.registry.collect(() => {
    // Counted for the next reading: a reading must not wait for the disk.
    metrics.sessions.with({ state: 'passivated' }).set(Math.max(0, stored - sessions.liveCount));
    journal.count().then(
      (count) => (stored = count),
      () => undefined,
    );
    for (const [host, load] of Object.entries(limits.snapshot()))
      metrics.providerQueue.with({ host }).set(load.waiting);
  });
  const { systemPrompt } = config.panes['reply'] ?? {};
  const sessions = new Sessions({
    journal,
    panes: [
      replyPane(systemPrompt === undefined ? {} : { systemPrompt }),
      historyPane,
      scenePane,
      ...(parts.panes ?? []),
    ],
    paneOptions: optionsOf(config),
    maxSessions: config.limits.maxSessions,
    passivateAfterMs: config.limits.passivateAfterMs,
    world: {
      text: parts.text ?? textEngine(config.text, parts.ids ?? systemIds),
      image: parts.image ?? imageEngine(config.image),
      ids: parts.ids ?? systemIds,
      limits,
      clock,
      metrics,
      assets,
      logger,
    },
  });
  const edge = createEdge(config, sessions, { metrics, logger, clock });
  return { sessions, edge, metrics, ...lifecycle(config, { sessions, edge, journal, metrics, logger, clock }) };
}

function openJournal(config: Config, metrics: Metrics): Journal {
  return openSqliteJournal({
    path: join(config.data, 'mullion.db'),
    observe: ({ records, durationMs }) => {
      metrics.commitRecords.with({}).observe(records);
      metrics.commitSeconds.with({}).observe(durationMs / 1_000);
    },
  });
}

/** Options of panes without what is not an option. */
function optionsOf(config: Config): { [pane: string]: Partial<PaneOptions> } {
  return Object.fromEntries(
    Object.entries(config.panes).map(([name, { systemPrompt: _, ...options }]) => [name, options]),
  );
}

function createEdge(
  config: Config,
  sessions: Sessions,
  shared: { metrics: Metrics; logger: Logger; clock: Clock },
): HttpEdge {
  const { outboxBytes, maxFrameBytes, maxConnections, maxSubscriptions, maxInFlight, framesPerSecond } = config.limits;
  const clientFile = join(packageRoot, 'dist', 'client.js');
  return createHttpEdge({
    host: sessions,
    ...shared,
    access: { tokens: config.auth.tokens, origins: config.auth.origins },
    config: {
      outboxBytes,
      maxFrameBytes,
      maxConnections,
      maxSubscriptions,
      maxInFlight,
      framesPerSecond,
      webRoot: join(packageRoot, 'web'),
      ...(existsSync(clientFile) ? { clientFile } : {}),
    },
    notReady: () => (sessions.sealed ? 'the store cannot be written' : undefined),
  });
}

interface Running {
  sessions: Sessions;
  edge: HttpEdge;
  journal: Journal;
  metrics: Metrics;
  logger: Logger;
  clock: Clock;
}

function lifecycle(
  config: Config,
  { sessions, edge, journal, metrics, logger, clock }: Running,
): Pick<Composed, 'listen' | 'close'> {
  let expireTimer: unknown;
  const expire = (): void => {
    journal
      .expire(clock.now())
      .catch((error: unknown) => logger.warn({ error: String(error) }, 'old command keys could not be deleted'));
    expireTimer = clock.setTimeout(expire, expireEveryMs);
  };
  return {
    async listen() {
      const { port } = await edge.listen(config.server.port, config.server.host);
      expire();
      sessions.recover().then(
        (count) => (count > 0 ? logger.info({ sessions: count }, 'recovered') : undefined),
        (error: unknown) => logger.error({ error: String(error) }, 'recovery failed'),
      );
      preloadEngines(config.text, config.image).catch((error: unknown) =>
        logger.warn({ error: String(error) }, 'the SDK could not be loaded'),
      );
      const host = config.server.host.includes(':') ? `[${config.server.host}]` : config.server.host;
      return `http://${host}:${port}`;
    },
    async close(graceMs = 1_500) {
      clock.clearTimeout(expireTimer);
      edge.draining();
      await sessions.close(graceMs);
      await edge.closeAll();
      await journal.close();
      metrics.close();
    },
  };
}
