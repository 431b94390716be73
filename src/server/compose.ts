import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openDiskAssets } from '../adapters/assets-disk.ts';
import { openSqliteJournal } from '../adapters/journal-sqlite.ts';
import { chaptersPane, historyPane, illustrationsPane, replyPane, scenePane } from '../panes/index.ts';
import type { Assets } from '../ports/assets.ts';
import type { Clock, Ids } from '../ports/clock.ts';
import type { Journal } from '../ports/journal.ts';
import type { ImageModel, TextModel } from '../ports/models.ts';
import type { PaneOptions } from '../protocol/records.ts';
import { systemClock, systemIds } from './clock.ts';
import type { Config } from './config/config.ts';
import { Exporter } from './export/exporter.ts';
import { imageEngines, preloadEngines, textEngine } from './engines.ts';
import { createLimits } from './limits/limits.ts';
import { silentLogger, type Logger } from './logger.ts';
import { packageRoot } from './package-root.ts';
import type { Route } from './transport/router.ts';
import { limitRoutes } from './transport/routes/limits.ts';
import { createHttpEdge, type HttpEdge } from './transport/server.ts';
import { PictureCache } from './sessions/picture-cache.ts';
import type { AnyPaneDefinition } from './sessions/body.ts';
import { promptRemover } from '../panes/illustrations/patterns.ts';
import { Previews } from './sessions/previews.ts';
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
  /** Panes besides the built-in ones. */
  panes?: readonly AnyPaneDefinition[];
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

/** What waits to be exported is written within this when the server stops. */
const exportBoundMs = 1_000;

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
  const pictures = new PictureCache();
  let stored = 0;
  metrics.registry.collect(() => {
    // Counted for the next reading: a reading must not wait for the disk.
    metrics.sessions.with({ state: 'passivated' }).set(Math.max(0, stored - sessions.liveCount));
    journal.count().then(
      (count) => (stored = count),
      () => undefined,
    );
    for (const [host, load] of Object.entries(limits.snapshot())) {
      metrics.providerQueue.with({ host }).set(load.waiting);
      metrics.providerDraining.with({ host }).set(load.draining);
    }
    metrics.pictures.with({ result: 'hit' }).set(pictures.counts.hits);
    metrics.pictures.with({ result: 'miss' }).set(pictures.counts.misses);
  });
  let exporter: Exporter | null = null;
  const { systemPrompt } = config.panes['reply'] ?? {};
  const sessions = new Sessions({
    journal,
    panes: [
      replyPane(systemPrompt === undefined ? {} : { systemPrompt }),
      historyPane,
      scenePane,
      illustrationsPane({ patterns: config.panes['illustrations']?.patterns }),
      chaptersPane(),
      ...(parts.panes ?? []),
    ],
    paneOptions: optionsOf(config),
    maxSessions: config.limits.maxSessions,
    passivateAfterMs: config.limits.passivateAfterMs,
    committed: (session) => exporter?.changed(session),
    erased: (session) => exporter?.erased(session),
    world: {
      text: parts.text ?? textEngine(config.text, parts.ids ?? systemIds),
      images: parts.image === undefined ? imageEngines(config.image) : [parts.image],
      tryTimeoutMs: config.image.tryTimeoutMs,
      withoutPrompts: promptRemover(config.panes['illustrations']?.patterns),
      pictures,
      previews: new Previews(),
      ids: parts.ids ?? systemIds,
      limits,
      clock,
      metrics,
      assets,
      logger,
    },
  });
  if (config.export.dir !== null)
    exporter = new Exporter({ folder: config.export.dir, sessions, clock, logger, metrics });
  const routes = limitRoutes({ limits, maxBytes: config.limits.maxFrameBytes, logger });
  const edge = createEdge(config, sessions, { metrics, logger, clock, routes });
  return {
    sessions,
    edge,
    metrics,
    ...lifecycle(config, { sessions, edge, exporter, journal, metrics, logger, clock }),
  };
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
    Object.entries(config.panes).map(([name, { systemPrompt: _, patterns: __, ...options }]) => [name, options]),
  );
}

function createEdge(
  config: Config,
  sessions: Sessions,
  shared: { metrics: Metrics; logger: Logger; clock: Clock; routes: readonly Route[] },
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
  exporter: Exporter | null;
  journal: Journal;
  metrics: Metrics;
  logger: Logger;
  clock: Clock;
}

function lifecycle(
  config: Config,
  { sessions, edge, exporter, journal, metrics, logger, clock }: Running,
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
      void exporter?.start();
      sessions.recover().then(
        (count) => (count > 0 ? logger.info({ sessions: count }, 'recovered') : undefined),
        (error: unknown) => logger.error({ error: String(error) }, 'recovery failed'),
      );
      preloadEngines(config.text).catch((error: unknown) =>
        logger.warn({ error: String(error) }, 'the SDK could not be loaded'),
      );
      const host = config.server.host.includes(':') ? `[${config.server.host}]` : config.server.host;
      return `http://${host}:${port}`;
    },
    async close(graceMs = 1_500) {
      clock.clearTimeout(expireTimer);
      edge.draining();
      await sessions.close(graceMs);
      await exporter?.close(exportBoundMs);
      await edge.closeAll();
      await journal.close();
      metrics.close();
    },
  };
}
