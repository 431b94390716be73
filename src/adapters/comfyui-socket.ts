import { WebSocket, type RawData } from 'ws';
import type { Image } from '../ports/models.ts';
import type { HttpBackend } from './http-json.ts';
import { isWhole, sniff } from './image-bytes.ts';
import { field, parseJson } from './openai-errors.ts';

/** What is heard of one job. Nothing here decides anything: whether a job is over, the queue and the history say. */
export interface JobListener {
  /** Whether a frame that names this job is about ours. */
  isOurs(promptId: string): boolean;
  /** Bytes came. */
  heard(): void;
  /** How far a node is; its id, and the id of the workflow's node that it came from. */
  progress(nodes: readonly string[], value: number, max: number): void;
  preview(image: Image): void;
  /** Something has ended, or the socket has: look. */
  wake(): void;
}

/** A WebSocket of one job. */
export interface JobSocket {
  /** Resolves when it is open, or when it is clear that it will not be: a job goes on without it. */
  readonly settled: Promise<void>;
  readonly alive: boolean;
  /** Closes it at once; the listener hears no more. */
  close(): void;
}

const maxFrameBytes = 8 * 1024 * 1024;
const openMs = 5000;
const previewFrame = 1;
const previewWithMetadataFrame = 4;

/** Opens the socket on which a backend tells `clientId` about its jobs. Never throws. */
export function openJobSocket(backend: HttpBackend, clientId: string, listener: JobListener): JobSocket {
  const url = `${backend.upstream.baseUrl.replace(/^http/, 'ws')}/ws?clientId=${encodeURIComponent(clientId)}`;
  const socket = new WebSocket(url, {
    headers: { ...backend.headers },
    maxPayload: maxFrameBytes,
    perMessageDeflate: false,
  });
  let closed = false;
  let settle = (): void => undefined;
  const settled = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const timer = backend.clock.setTimeout(() => socket.terminate(), openMs);
  const over = (): void => {
    backend.clock.clearTimeout(timer);
    settle();
  };
  const frames = frameReader(listener);
  socket.on('open', () => {
    over();
    // From now on previews come with the name of their job.
    socket.send(JSON.stringify({ type: 'feature_flags', data: { supports_preview_metadata: true } }));
  });
  // Also said before a close; without a listener it would end the process.
  socket.on('error', () => undefined);
  socket.on('close', () => {
    over();
    if (!closed) listener.wake();
  });
  socket.on('message', (data, isBinary) => {
    if (closed) return;
    listener.heard();
    const bytes = bytesOf(data);
    if (isBinary) frames.binary(bytes);
    else frames.json(parseJson(bytes.toString('utf8')));
  });
  return {
    settled,
    get alive() {
      return socket.readyState === WebSocket.OPEN;
    },
    close() {
      closed = true;
      over();
      socket.terminate();
    },
  };
}

function frameReader(listener: JobListener): { json(frame: unknown): void; binary(bytes: Buffer): void } {
  /** Whether the job that runs is ours: previews of the older kind do not say whose they are. */
  let running = false;
  const json = (frame: unknown): void => {
    const data = field(frame, 'data');
    const id = field(data, 'prompt_id');
    // Servers from before 2023 name no job, but tell only whoever gave it to them.
    const ours = id === undefined || (typeof id === 'string' && listener.isOurs(id));
    switch (field(frame, 'type')) {
      case 'execution_start':
        running = ours && id !== undefined;
        break;
      case 'executing':
        running = ours && typeof field(data, 'node') === 'string';
        if (ours && !running) listener.wake();
        break;
      case 'progress':
        if (ours && id !== undefined) readProgress(listener, data, [field(data, 'node')]);
        break;
      case 'progress_state':
        if (ours && id !== undefined) readNodes(listener, field(data, 'nodes'));
        break;
      case 'execution_success':
      case 'execution_error':
      case 'execution_interrupted':
        if (!ours) break;
        running = false;
        listener.wake();
        break;
      default:
    }
  };
  const binary = (bytes: Buffer): void => {
    const image = previewOf(bytes, listener, running);
    if (image !== undefined) listener.preview(image);
  };
  return { json, binary };
}

function readNodes(listener: JobListener, nodes: unknown): void {
  if (typeof nodes !== 'object' || nodes === null) return;
  for (const [id, node] of Object.entries(nodes)) {
    if (field(node, 'state') !== 'running') continue;
    // A node that counts nothing goes from 0 of 1 to 1 of 1.
    if (field(node, 'max') === 1 && field(node, 'value') === 0) continue;
    readProgress(listener, node, [id, field(node, 'display_node_id'), field(node, 'real_node_id')]);
  }
}

function readProgress(listener: JobListener, data: unknown, nodes: readonly unknown[]): void {
  const value = field(data, 'value');
  const max = field(data, 'max');
  if (typeof value !== 'number' || typeof max !== 'number') return;
  if (!(max > 0 && max <= 1e6 && value >= 0 && value <= max)) return;
  listener.progress(
    nodes.filter((node) => typeof node === 'string'),
    value,
    max,
  );
}

/** The picture in a binary frame, if there is one and it is ours. */
function previewOf(bytes: Buffer, listener: JobListener, running: boolean): Image | undefined {
  if (bytes.length < 8) return undefined;
  const kind = bytes.readUInt32BE(0);
  if (kind === previewFrame) return running ? pictureOf(bytes.subarray(8)) : undefined;
  if (kind !== previewWithMetadataFrame) return undefined;
  const start = 8 + bytes.readUInt32BE(4);
  if (start > bytes.length) return undefined;
  const id = field(parseJson(bytes.toString('utf8', 8, start)), 'prompt_id');
  const ours = typeof id === 'string' ? listener.isOurs(id) : running;
  return ours ? pictureOf(bytes.subarray(start)) : undefined;
}

function pictureOf(bytes: Buffer): Image | undefined {
  const extension = sniff(bytes);
  if (extension === undefined || extension === 'svg' || !isWhole(bytes, extension)) return undefined;
  // A copy: the frame shares its memory with others.
  return { bytes: new Uint8Array(bytes), extension };
}

function bytesOf(data: RawData): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? Buffer.from(data) : data;
}
