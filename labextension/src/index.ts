import { chipsPlugin } from './chips/plugin';
import { modelPlugin } from './model/plugin';
import { runPagePlugin } from './runpage/plugin';
import { sidebarPlugin } from './sidebar/plugin';

export * from './tokens';
export default [modelPlugin, sidebarPlugin, runPagePlugin, chipsPlugin];
