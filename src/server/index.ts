import { type Composed, compose, type Parts } from './compose.ts';
import { ConfigError, resolveConfig } from './config/config.ts';
import { checkFile, type ConfigFile } from './config/config-schema.ts';

/** The same keys as `mullion.config.json`, and parts of your own. */
export interface MullionOptions extends Parts {
  config?: ConfigFile;
}

/** A Mullion in your own process. */
export interface Mullion {
  /** What transports use, for use without one: commands, subscriptions, views. */
  readonly sessions: Composed['sessions'];
  /** Listens as the configuration says (`server.host`, `server.port`; 0 = any free one); resolves with the URL. */
  listen(): Promise<string>;
  /** Stops in order: running stages get `graceMs` (default 1500) to end, everything is stored, sockets close with 1012. */
  close(graceMs?: number): Promise<void>;
}

/** Builds a Mullion. Nothing is global: two in one process do not see each other. Rejects with ConfigError or JournalError. */
export async function createMullion({ config = {}, ...parts }: MullionOptions = {}): Promise<Mullion> {
  const checked = checkFile(config, 'config');
  if ('problems' in checked) throw new ConfigError(checked.problems);
  const resolved = resolveConfig({ file: checked.file, name: 'config', folder: undefined }, {}, {}, process.cwd());
  return compose(resolved, parts);
}

export { ConfigError };
export type { ConfigFile, Parts };
export { definePane } from '../panes/define.ts';
export { defineTaskPane } from '../panes/define-tasks.ts';
export type {
  Plan,
  PlanView,
  TaskContext,
  TaskPaneDefinition,
  TaskPlan,
  TaskResult,
  TaskStage,
  Watch,
} from '../panes/define-tasks.ts';
export type { ContentOf, PaneDefinition, Stage, StageContext, StageResult } from '../panes/define.ts';
export { JournalError, ProviderError } from '../ports/errors.ts';
export type { Image, ImageModel, ImageRequest, Report, TextModel, TextRequest } from '../ports/models.ts';
export type { Logger } from './logger.ts';
export type { Command } from '../protocol/commands.ts';
export { progressOf } from '../protocol/progress.ts';
export type { Progress } from '../protocol/progress.ts';
export type { Rec } from '../protocol/records.ts';
export type { Message, PaneView, View } from '../protocol/view.ts';
