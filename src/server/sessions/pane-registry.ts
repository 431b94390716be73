import { createPaneMachine } from '../../machines/pane.ts';
import type { StageLogic } from '../../machines/pane-setup.ts';
import type { AnyPaneMachine } from '../../machines/session.ts';
import { createTaskPaneMachine } from '../../machines/tasks/pane.ts';
import type { PaneDefinition } from '../../panes/define.ts';
import type { TaskPaneDefinition } from '../../panes/define-tasks.ts';
import { limits, panePattern } from '../../protocol/names.ts';
import type { PaneDeclaration, PaneOptions } from '../../protocol/records.ts';
import type { AnyPaneDefinition } from './body.ts';

/** The panes that this server knows: definitions, what `session.opened` says of them, and one statechart each. */
export interface PaneRegistry {
  definitions: ReadonlyMap<string, AnyPaneDefinition>;
  declarations: { [pane: string]: PaneDeclaration };
  machines: { [pane: string]: AnyPaneMachine };
}

/** Options of PROTOCOL section 7, before a pane's own and the configuration's. */
export const defaultPaneOptions: PaneOptions = {
  enabled: true,
  policy: 'supersede',
  startOn: 'reply',
  replyWaitMs: 30_000,
  debounceMs: 150,
  debounceMaxMs: 2_000,
  timeoutMs: 60_000,
  idleTimeoutMs: 30_000,
  retries: 2,
  maxChars: 1_500,
  window: 30,
};

/** What panes with tasks have besides. */
const defaultTaskOptions = {
  enabled: false,
  policy: 'queue',
  taskTimeoutMs: 300_000,
  parallel: 4,
} as const satisfies Partial<PaneOptions>;

/** Phases that a stage must not be called: they are everybody's. */
const takenNames = [
  'idle',
  'queued',
  'waiting',
  'debouncing',
  'starting',
  'draining',
  'retrying',
  'paused',
  'cancelling',
  'enter',
  'over',
  'updated',
  'unchanged',
  'cancelled',
  'error',
  'imaging_failed',
];

/** Builds the registry once per server. Throws on a definition that cannot work, naming what is wrong. */
export function createPaneRegistry(
  definitions: readonly AnyPaneDefinition[],
  configured: { [pane: string]: Partial<PaneOptions> },
  stageLogic: StageLogic,
): PaneRegistry {
  const byName = new Map<string, AnyPaneDefinition>();
  const declarations: PaneRegistry['declarations'] = {};
  const machines: PaneRegistry['machines'] = {};
  if (definitions.length > limits.maxPanes)
    throw new Error(`at most ${limits.maxPanes} panes, got ${definitions.length}`);
  for (const definition of definitions) {
    check(definition, byName);
    byName.set(definition.name, definition);
    const isTasks = 'plan' in definition;
    declarations[definition.name] = {
      kind: definition.name,
      phases: isTasks ? [definition.phase] : definition.stages.map((stage) => stage.name),
      driven: isTasks ? false : (definition.driven ?? true),
      ...(isTasks ? { tasks: true } : {}),
      ...defaultPaneOptions,
      ...(isTasks ? defaultTaskOptions : {}),
      ...definition.options,
      ...configured[definition.name],
    };
    machines[definition.name] = isTasks ? taskMachine(definition, stageLogic) : stageMachine(definition, stageLogic);
  }
  return { definitions: byName, declarations, machines };
}

function stageMachine(definition: PaneDefinition, stageLogic: StageLogic): AnyPaneMachine {
  const { name, runFrom = definition.stages[0].name, imaging = [] } = definition;
  const stages = definition.stages.map((stage) => stage.name);
  return createPaneMachine({ name, stages, runFrom, imaging }, stageLogic);
}

function taskMachine(definition: TaskPaneDefinition, stageLogic: StageLogic): AnyPaneMachine {
  const { name, phase, joins = false } = definition;
  const [first, ...others] = definition.stages;
  return createTaskPaneMachine(
    {
      name,
      phase,
      stages: [first.name, ...others.map((stage) => stage.name)],
      joins,
      keepsFailed: definition.failed !== undefined,
      maxTasks: maxTasksOf(definition),
    },
    stageLogic,
  );
}

/** Most tasks in a run of this pane. */
export function maxTasksOf({ maxTasks = limits.maxTasks }: TaskPaneDefinition): number {
  return Math.min(maxTasks, limits.maxTasks);
}

function check(definition: AnyPaneDefinition, known: Map<string, AnyPaneDefinition>): void {
  const { name, stages } = definition;
  if (!panePattern.test(name))
    throw new Error(`pane name: expected a lower-case name such as "history", got ${JSON.stringify(name)}`);
  if (known.has(name)) throw new Error(`pane ${name} is registered twice`);
  const names: string[] = stages.map((stage) => stage.name);
  for (const stage of 'plan' in definition ? [...names, definition.phase] : names) {
    if (!/^[a-z][a-z_]*$/.test(stage) || takenNames.includes(stage)) {
      throw new Error(
        `pane ${name}: a stage is named by a participle of its own such as "summarizing", got ${JSON.stringify(stage)}`,
      );
    }
  }
  if (new Set(names).size < names.length) throw new Error(`pane ${name}: two stages have the same name`);
  if ('plan' in definition) return;
  for (const stage of [definition.runFrom, ...(definition.imaging ?? [])]) {
    if (stage !== undefined && !names.includes(stage))
      throw new Error(`pane ${name}: no stage ${stage}, expected one of ${names.join(', ')}`);
  }
}
