import { chaptersPane } from './chapters/chapters.ts';
import { historyPane } from './history.ts';
import { illustrationsPane } from './illustrations/index.ts';
import { replyPane } from './reply.ts';
import { scenePane } from './scene.ts';

export { chaptersPane } from './chapters/chapters.ts';
export type { ChapterContent } from './chapters/chapter.ts';
export { historyPane } from './history.ts';
export type { HistoryContent } from './history.ts';
export { illustrationsPane } from './illustrations/index.ts';
export type { IllustrationContent } from './illustrations/index.ts';
export { replyPane } from './reply.ts';
export type { ReplyContent } from './reply.ts';
export { scenePane } from './scene.ts';
export type { SceneContent } from './scene.ts';

/** The panes that every server knows, as they are without configuration, in order of priority. */
export const builtInPanes = [replyPane(), historyPane, scenePane, illustrationsPane(), chaptersPane()] as const;
