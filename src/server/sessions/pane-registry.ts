import { createPaneMachine, type PaneMachine } from '../../machines/pane.ts';
import type { StageLogic } from '../../machines/pane-setup.ts';
import type { PaneDefinition } from '../../panes/define.ts';
import { limits, panePattern } from '../../protocol/names.ts';
import type { PaneDeclaration, PaneOptions } from '../../protocol/records.ts';

/** The panes that this server knows: definitions, what `session.opened` says of them, and one statechart each. */
export interface PaneRegistry {
  definitions: ReadonlyMap<string, PaneDefinition>;
  declarations: { [pane: string]: PaneDeclaration };
  machines: { [pane: string]: PaneMachine };
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
  'updated',
  'unchanged',
  'cancelled',
  'error',
  'imaging_failed',
];

/** Builds the registry once per server. Throws on a definition that cannot work, naming what is wrong. */
export function createPaneRegistry(
  definitions: readonly PaneDefinition[],
  configured: { [pane: string]: Partial<PaneOptions> },
  stageLogic: StageLogic,
): PaneRegistry {
  const byName = new Map<string, PaneDefinition>();
  const declarations: PaneRegistry['declarations'] = {};
  const machines: PaneRegistry['machines'] = {};
  if (definitions.length > limits.maxPanes)
    throw new Error(`at most ${limits.maxPanes} panes, got ${definitions.length}`);
  for (const definition of definitions) {
    check(definition, byName);
    byName.set(definition.name, definition);
    const stages = definition.stages.map((stage) => stage.name);
    declarations[definition.name] = {
      kind: definition.name,
      phases: stages,
      driven: definition.driven ?? true,
      ...defaultPaneOptions,
      ...definition.options,
      ...configured[definition.name],
    };
    const runFrom = definition.runFrom ?? definition.stages[0].name;
    machines[definition.name] = createPaneMachine(
      { name: definition.name, stages, runFrom, imaging: definition.imaging ?? [] },
      stageLogic,
    );
  }
  return { definitions: byName, declarations, machines };
}

function check(definition: PaneDefinition, known: Map<string, PaneDefinition>): void {
  const { name, stages } = definition;
  if (!panePattern.test(name))
    throw new Error(`pane name: expected a lower-case name such as "history", got ${JSON.stringify(name)}`);
  if (known.has(name)) throw new Error(`pane ${name} is registered twice`);
  const names = stages.map((stage) => stage.name);
  for (const stage of names) {
    if (!/^[a-z][a-z_]*$/.test(stage) || takenNames.includes(stage)) {
      throw new Error(
        `pane ${name}: a stage is named by a participle of its own such as "summarizing", got ${JSON.stringify(stage)}`,
      );
    }
  }
  if (new Set(names).size < names.length) throw new Error(`pane ${name}: two stages have the same name`);
  for (const stage of [definition.runFrom, ...(definition.imaging ?? [])]) {
    if (stage !== undefined && !names.includes(stage))
      throw new Error(`pane ${name}: no stage ${stage}, expected one of ${names.join(', ')}`);
  }
}
