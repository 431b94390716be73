#!/usr/bin/env node
import { join } from 'node:path';
import { JournalError } from '../ports/errors.ts';
import { runCheck } from './check.ts';
import { parseArguments, type CliCommand } from './cli.ts';
import { systemClock, systemIds } from './clock.ts';
import { compose } from './compose.ts';
import { ConfigError, loadConfig, secretsOf, type Config, type Flags } from './config/config.ts';
import { probesOf } from './engines.ts';
import { createLog, createScrub } from './log.ts';
import { silentLogger } from './logger.ts';
import { packageVersion } from './package-root.ts';
import { runReplay } from './replay/replay.ts';

/** A stop ends within this, whatever hangs. */
const stopBoundMs = 5_000;

process.exitCode = await run(parseArguments(process.argv.slice(2)));

async function run(asked: CliCommand): Promise<number> {
  switch (asked.command) {
    case 'help':
      process.stdout.write(`${asked.text}\n`);
      return 0;
    case 'version':
      process.stdout.write(`${packageVersion()}\n`);
      return 0;
    case 'refused':
      process.stderr.write(`mullion: ${asked.message}\n`);
      return asked.exitCode;
    case 'serve':
      return withConfig(asked.flags, serve);
    case 'check':
      return withConfig(asked.flags, check);
    case 'replay':
      return withConfig(asked.flags, (config) =>
        runReplay(asked, config, {
          startServer,
          clock: systemClock,
          ids: systemIds,
          out: process.stdout,
          errors: process.stderr,
        }),
      );
  }
}

async function withConfig(flags: Flags, use: (config: Config) => Promise<number>): Promise<number> {
  try {
    return await use(await loadConfig(flags, process.env, process.cwd()));
  } catch (error) {
    process.stderr.write(`mullion: ${expected(error)}\n`);
    return 1;
  }
}

/** The sentence for what people can mend; the stack for what only we can. */
function expected(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  if (error instanceof JournalError) return error.message;
  if (error instanceof Error && 'code' in error) {
    if (error.code === 'EADDRINUSE')
      return `${error.message}: another program listens there; choose another --port (0 = any free one)`;
    return error.message;
  }
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

async function serve(config: Config): Promise<number> {
  const logger = await createLog({ level: config.log.level, secrets: secretsOf(config), pretty: process.stderr.isTTY });
  for (const warning of config.warnings) logger.warn({}, warning);
  const server = await compose(config, { logger });
  const stopping = new Promise<string>((resolve) => {
    process.once('SIGTERM', () => resolve('SIGTERM'));
    process.once('SIGINT', () => resolve('SIGINT'));
  });
  try {
    const url = await server.listen();
    process.stdout.write(`mullion listening on ${url}\n`);
  } catch (error) {
    await server.close(0);
    throw error;
  }
  const signal = await stopping;
  // The second one exits at once.
  for (const again of ['SIGTERM', 'SIGINT'] as const) process.once(again, () => process.exit(1));
  setTimeout(() => process.exit(0), stopBoundMs - 250).unref();
  logger.info({ signal }, 'stopping');
  await server.close();
  return 0;
}

async function check(config: Config): Promise<number> {
  return runCheck({
    probes: probesOf(config.text, config.image),
    data: config.data,
    clock: systemClock,
    out: process.stdout,
    scrub: createScrub(secretsOf(config)),
  });
}

async function startServer(config: Config) {
  const server = await compose(config, { logger: silentLogger });
  const url = await server.listen();
  return {
    url,
    assetFile: (path: string) =>
      path.startsWith('/v1/assets/') ? join(config.data, path.slice('/v1/'.length)) : undefined,
    close: () => server.close(),
  };
}
