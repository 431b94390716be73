import type { StageInput } from '../../machines/pane-setup.ts';
import type { TaskContext } from '../../panes/define-tasks.ts';
import type { Assets } from '../../ports/assets.ts';
import type { State } from '../../protocol/state.ts';
import { orAborted } from './provider.ts';
import { withTexts } from './stage-context.ts';

/** What a stage of a task knows of its session as of now; the engines and its own voice come from the attempt. */
export function taskMaterial(
  { view, private: priv }: State,
  input: StageInput,
  cleaned: (text: string) => string,
): Omit<TaskContext, 'signal' | 'text' | 'image' | 'show' | 'store' | 'load'> {
  const pane = priv.panes[input.pane];
  const shown = view.panes[input.pane];
  const task = shown?.tasks[input.task ?? ''];
  if (pane === undefined || shown === undefined || task === undefined)
    throw new Error(`no task ${input.task ?? ''} in pane ${input.pane} of session ${input.session}`);
  const options = pane.declaration;
  return {
    session: input.session,
    pane: input.pane,
    run: input.run,
    generation: input.generation,
    attempt: input.attempt,
    task: {
      id: task.id,
      key: task.key,
      label: task.label,
      input: task.input,
      checkpoint: task.checkpoint ?? null,
      guidance: pane.input,
    },
    messages: withTexts(view.messages.filter(({ final }) => final).slice(-options.window), cleaned),
    parts: shown.parts,
    options,
  };
}

/** Long texts of one session, as assets. */
export function texts(assets: Assets, session: string, signal: AbortSignal): Pick<TaskContext, 'store' | 'load'> {
  return {
    store: (text) => orAborted(assets.put(session, new TextEncoder().encode(text), 'md'), signal),
    load: async (path) => {
      const name = path.startsWith(`/v1/assets/${session}/`) ? path.slice(`/v1/assets/${session}/`.length) : '';
      const bytes = await orAborted(assets.get(session, name), signal);
      if (bytes === undefined) throw new Error(`asset ${path} is not there`);
      return new TextDecoder().decode(bytes);
    },
  };
}
