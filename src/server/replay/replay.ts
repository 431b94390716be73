import { createHash } from 'node:crypto';
import type { Clock, Ids } from '../../ports/clock.ts';
import { isTerminal } from '../../protocol/names.ts';
import type { JsonObject } from '../../protocol/records.ts';
import type { PaneView, View } from '../../protocol/view.ts';
import { type Chat, ChatFileError, readChat } from './chat-file.ts';
import type { ReplayCommand } from '../cli.ts';
import type { Config } from '../config/config.ts';
import { ReplayConnection, ReplayError, subscribePrefix } from './replay-connection.ts';
import { plain, StatusLines, type Terminal } from './status-lines.ts';

/** A server in this process. */
export interface RunningServer {
  /** `http://HOST:PORT`. */
  url: string;
  /** Where an asset (`/v1/assets/…`) lies on the disk, if it does. */
  assetFile?: (path: string) => string | undefined;
  close(): Promise<void>;
}

/** What the replay needs of the outside. */
export interface ReplayDeps {
  /** Starts a server in this process; main wires it. Called with port 0 and a loopback host. */
  startServer: (config: Config) => Promise<RunningServer>;
  clock: Clock;
  ids: Ids;
  out: Terminal;
  errors: Terminal;
  /** Longest wait at the end for the panes, in ms. Default 10 minutes. */
  settleMs?: number;
}

const watched = ['history', 'scene'] as const;
const defaultSettleMs = 600_000;

/**
 * `mullion replay`: feeds the chat of a file into a session, shows history and scene as they move, and ends with what they hold. Resolves
 * with the exit code: 0 = both panes have settled well, 1 = one has not, or something failed (said on `errors`). Never rejects.
 */
export async function runReplay(command: ReplayCommand, config: Config, deps: ReplayDeps): Promise<0 | 1> {
  let server: RunningServer | undefined;
  try {
    const chat = await readChat(command.file, command.user === undefined ? {} : { user: command.user });
    server = command.url === undefined ? await deps.startServer(inProcess(config)) : undefined;
    const url = command.url ?? server?.url ?? '';
    const session = command.session ?? `replay-${deps.ids.uuid().replaceAll('-', '').slice(-12)}`;
    const token = command.token ?? config.auth.tokens[0];
    const view = await replay(
      chat,
      { url, session, delayMs: command.delayMs, ...(token === undefined ? {} : { token }) },
      deps,
    );
    printEnd(view, url, server, deps.out);
    return watched.some((name) => wentWrong(view.panes[name])) ? 1 : 0;
  } catch (error) {
    deps.errors.write(`mullion replay: ${plain(messageOf(error))}\n`);
    return 1;
  } finally {
    await server?.close().catch((error: unknown) => deps.errors.write(`mullion replay: ${plain(messageOf(error))}\n`));
  }
}

/** A free port on this machine: nobody else has to reach it. */
const inProcess = (config: Config): Config => ({ ...config, server: { host: '127.0.0.1', port: 0 } });

/** Where the messages go. */
export interface ReplayOptions {
  url: string;
  token?: string;
  session: string;
  /** Pause between messages, in ms. */
  delayMs: number;
}

/**
 * Feeds the messages into the session and resolves with its view once the panes have settled. Ids come from the chat: replaying the same
 * file into the same session goes on where the last time ended. Rejects with ReplayError.
 */
export async function replay(
  chat: Chat,
  options: ReplayOptions,
  deps: Pick<ReplayDeps, 'clock' | 'out' | 'settleMs'>,
): Promise<View> {
  const { session, delayMs } = options;
  const { clock } = deps;
  const connection = await ReplayConnection.open({ ...options, clock });
  const lines = new StatusLines(deps.out, watched);
  try {
    const key = digestOf(chat);
    await connection.command({
      type: 'session.open',
      id: `${key}-open`,
      session,
      panes: { reply: { enabled: false } },
    });
    await connection.subscribe(`${subscribePrefix}${key}`);
    let note = `session ${session}: ${chat.title ?? 'a chat'}, ${chat.messages.length} messages`;
    if (deps.out.isTTY !== true) deps.out.write(`${plain(note)}\n`);
    connection.onLive = (frame) => lines.live(frame);
    connection.onChange = () => lines.draw(connection.view, plain(note));
    let seq = 0;
    for (const [index, { role, text }] of chat.messages.entries()) {
      if (index > 0 && delayMs > 0) await pause(clock, delayMs);
      note = `session ${session}: message ${index + 1} of ${chat.messages.length}`;
      const asked = role === 'user' ? { reply: false } : {};
      const ack = await connection.command({
        type: 'message.add',
        id: `${key}-${index + 1}`,
        session,
        role,
        text,
        ...asked,
      });
      seq = Math.max(seq, ack.seq ?? 0);
    }
    note = `session ${session}: all ${chat.messages.length} messages are in, the panes finish`;
    await settled(connection, lines, plain(note), seq, deps);
    return connection.view;
  } finally {
    lines.close();
    connection.onChange = () => {};
    connection.close();
  }
}

function settled(
  connection: ReplayConnection,
  lines: StatusLines,
  note: string,
  seq: number,
  deps: Pick<ReplayDeps, 'clock' | 'settleMs'>,
): Promise<void> {
  const limitMs = deps.settleMs ?? defaultSettleMs;
  return new Promise((resolve, reject) => {
    const timer = deps.clock.setTimeout(() => {
      const busy = watched.filter((name) => !hasSettled(connection.view.panes[name]));
      reject(
        new ReplayError(`expected the panes to settle within ${limitMs} ms, got ${busy.join(' and ')} still at work`),
      );
    }, limitMs);
    const look = (): void => {
      lines.draw(connection.view, note);
      if (connection.failure !== undefined) reject(connection.failure);
      else if (connection.view.seq < seq || !watched.every((name) => hasSettled(connection.view.panes[name]))) return;
      else resolve();
      deps.clock.clearTimeout(timer);
    };
    connection.onChange = look;
    look();
  });
}

/**
 * Nothing more comes of this pane by itself, the last message being in: it is over and covers the transcript, or its phase says why not
 * (PROTOCOL P6); `idle` means that it is turned off, as the message would have moved it.
 */
export function hasSettled(pane: PaneView | undefined): boolean {
  if (pane === undefined || pane.paused || pane.phase === 'idle') return true;
  if (!isTerminal(pane.phase)) return false;
  switch (pane.phase) {
    case 'updated':
    case 'unchanged':
      return pane.fresh !== false;
    case 'cancelled':
      return pane.reason !== 'superseded';
    case 'error':
    case 'imaging_failed':
      return true;
  }
}

const wentWrong = (pane: PaneView | undefined): boolean => pane?.phase === 'error' || pane?.phase === 'imaging_failed';

function printEnd(view: View, url: string, server: RunningServer | undefined, out: Terminal): void {
  const { history, scene } = view.panes;
  out.write(`\n${section('Story so far', history, 'text')}\n${section('Scene', scene, 'description')}\n`);
  const path = textIn(scene?.content ?? null, 'image');
  const file = path === undefined ? undefined : server?.assetFile?.(path);
  out.write(`Picture: ${path === undefined ? 'none' : (file ?? new URL(path, httpUrl(url)).href)}\n`);
}

function section(title: string, pane: PaneView | undefined, key: string): string {
  const content = pane?.content ?? null;
  const engine = textIn(content, 'engine');
  const state =
    pane === undefined || !wentWrong(pane)
      ? []
      : [`${pane.phase}: ${pane.error?.message ?? pane.reason ?? 'no reason given'}`];
  const heading = [title, ...(engine === undefined ? [] : [`(${engine})`])].join(' ');
  return plain([heading, textIn(content, key) ?? 'nothing yet', ...state, ''].join('\n'));
}

const textIn = (content: JsonObject | null, key: string): string | undefined => {
  const value = content?.[key];
  return typeof value === 'string' && value !== '' ? value : undefined;
};

const httpUrl = (url: string): string => url.replace(/^ws/, 'http');

/** Names this chat: the same file gives the same command ids. */
function digestOf(chat: Chat): string {
  const hash = createHash('sha256');
  for (const { role, text } of chat.messages) hash.update(`${role} ${text.length} ${text}\n`);
  return `replay-${hash.digest('hex').slice(0, 16)}`;
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.setTimeout(resolve, ms);
  });
}

const messageOf = (error: unknown): string =>
  error instanceof ReplayError || error instanceof ChatFileError || error instanceof Error
    ? error.message
    : String(error);
