/** The browser and Node client: follows one session over a WebSocket and sends commands. No dependencies. */
export { connect } from './connect.ts';
export { textOf } from './store.ts';
export { MullionError } from './types.ts';
export type { ClientClock } from './clock.ts';
export type {
  CaughtUp,
  ClientSocket,
  ClientState,
  ConnectOptions,
  MullionClient,
  Outgoing,
  PaneLive,
  TaskLive,
  Saved,
  SavedStorage,
  Seen,
  SocketConstructor,
  SocketEvent,
  Status,
} from './types.ts';
export type { Command } from '../protocol/commands.ts';
export type { AckFrame } from '../protocol/frames.ts';
export type { Json, JsonObject, Rec, Task } from '../protocol/records.ts';
export type { Message, PaneView, View } from '../protocol/view.ts';
