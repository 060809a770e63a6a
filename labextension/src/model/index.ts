export { RunDetail, type DetailPart, type ILoadable } from './detail';
export { RunFilter } from './filter';
export { LiveFeed } from './livefeed';
export { isLive, type IRunChange, RunRecords } from './records';
export { type Phase, RunList } from './runlist';
export { StoreModel } from './store';
