import { historyPane } from './history.ts';
import { replyPane } from './reply.ts';
import { scenePane } from './scene.ts';

export { historyPane } from './history.ts';
export type { HistoryContent } from './history.ts';
export { replyPane } from './reply.ts';
export type { ReplyContent } from './reply.ts';
export { scenePane } from './scene.ts';
export type { SceneContent } from './scene.ts';

/** The panes of every session that are defined by stages alone, in order of priority. */
export const builtInPanes = [replyPane(), historyPane, scenePane] as const;
