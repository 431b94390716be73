import { cases } from '../support/hostile-cases.ts';
import { startHostileServer, type Exchange, type Script } from '../support/hostile-server.ts';

/** What the program asks a model for. `evaluate-*`: the YES/NO question of the pane. */
export type Need =
  | 'reply'
  | 'evaluate-history'
  | 'evaluate-scene'
  | 'summarize'
  | 'describe'
  | 'propose'
  | 'outline'
  | 'draft'
  | 'edit'
  | 'image'
  | 'models';

/** A scripted OpenAI-compatible server that knows which stage asks. */
export interface ModelServer {
  readonly origin: string;
  readonly baseUrl: string;
  /** The next requests for this need run these scripts, one each; the last one serves all further ones. */
  script(need: Need, first: Script, ...more: Script[]): void;
  /** The next request for this need that no earlier call has returned; waits for it. */
  next(need: Need): Promise<Exchange>;
  /** All requests for this need so far. */
  asked(need: Need): readonly Exchange[];
  close(): Promise<void>;
}

/** The configuration that sends every stage to this server, each with a model name of its own. */
export function configFor(models: Pick<ModelServer, 'baseUrl' | 'origin'>, more: Record<string, unknown> = {}) {
  return {
    text: {
      engine: 'openai',
      baseUrl: models.baseUrl,
      apiKey: 'sk-scripted',
      models: {
        default: 'm',
        reply: 'm-reply',
        evaluate: 'm-evaluate',
        summarize: 'm-summarize',
        describe: 'm-describe',
        propose: 'm-propose',
        outline: 'm-outline',
        draft: 'm-draft',
        edit: 'm-edit',
      },
    },
    image: { engine: 'openai', baseUrl: models.baseUrl, apiKey: 'sk-scripted', model: 'm-image' },
    panes: { history: { debounceMs: 10 }, scene: { debounceMs: 10 }, reply: { retries: 0 } },
    limits: { hosts: { [models.origin]: { concurrency: 16 } } },
    ...more,
  };
}

/** Needs with a model of their own name. */
const byModel = ['reply', 'summarize', 'describe', 'propose', 'outline', 'draft', 'edit'] as const;

const modelNames = ['m', 'm-evaluate', 'm-image', ...byModel.map((need) => `m-${need}`)];

/** Starts one whose answers are all good and immediate. */
export async function startModelServer(): Promise<ModelServer> {
  const server = await startHostileServer();
  const scripts = new Map<Need, Script[]>([
    ['reply', [cases.stream(['The keeper ', 'opens ', 'the door.'])]],
    ['evaluate-history', [cases.stream(['YES'])]],
    ['evaluate-scene', [cases.stream(['YES'])]],
    ['summarize', [cases.stream(['Ines reached the glasshouse.'])]],
    ['describe', [cases.stream(['A glasshouse in the snow at night.'])]],
    ['propose', [cases.stream(['[]'])]],
    ['outline', [cases.stream(['She arrives. ', 'She looks. ', 'She leaves.'])]],
    ['draft', [cases.stream(['The door stood open. ', 'She went in.'])]],
    ['edit', [cases.stream(['The door stood wide open. ', 'She went in.'])]],
    ['image', [cases.imageB64()]],
    ['models', [cases.json({ data: modelNames.map((id) => ({ id })) })]],
  ]);
  const asked = new Map<Need, Exchange[]>();
  const taken = new Map<Need, number>();
  const waiters = new Map<Need, Array<() => void>>();
  const requestsOf = (need: Need): Exchange[] => asked.get(need) ?? [];
  server.script((exchange) => {
    const need = needOf(exchange);
    if (need === undefined) return cases.status(404)(exchange);
    asked.set(need, [...requestsOf(need), exchange]);
    for (const wake of waiters.get(need)?.splice(0) ?? []) wake();
    const list = scripts.get(need) ?? [];
    const script = list.length > 1 ? list.shift() : list[0];
    return script?.(exchange);
  });
  return {
    origin: server.origin,
    baseUrl: server.baseUrl,
    script: (need, first, ...more) => void scripts.set(need, [first, ...more]),
    async next(need) {
      const index = taken.get(need) ?? 0;
      taken.set(need, index + 1);
      for (;;) {
        const found = requestsOf(need)[index];
        if (found !== undefined) return found;
        await new Promise<void>((resolve) => {
          waiters.set(need, [...(waiters.get(need) ?? []), resolve]);
        });
      }
    },
    asked: requestsOf,
    close: () => server.close(),
  };
}

function needOf({ path, json }: Exchange): Need | undefined {
  if (path.startsWith('/v1/images/')) return 'image';
  if (path === '/v1/models') return 'models';
  const model = typeof json === 'object' && json !== null && 'model' in json ? json.model : undefined;
  if (model === 'm-evaluate')
    return JSON.stringify(json).includes('illustration') ? 'evaluate-scene' : 'evaluate-history';
  return byModel.find((need) => model === `m-${need}`);
}
