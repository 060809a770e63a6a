export { RunDetail, type DetailPart, type ILoadable } from './detail';
export { LiveFeed } from './livefeed';
export { type IRefusal, type IScope, ProjectRuns } from './project';
export { isLive, type IRunChange, RunRecords } from './records';
export { Registry } from './registry';
export { NEWEST_FIRST, type Phase, RunList } from './runlist';
export { Selection } from './selection';
export { StoreModel } from './store';
export { type ITrail, Trails } from './trails';
