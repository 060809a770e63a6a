import { chipsPlugin } from './chips/plugin';
import { comparePagePlugin } from './comparepage/plugin';
import { modelPlugin } from './model/plugin';
import { modelPagePlugin } from './modelpage/plugin';
import { runPagePlugin } from './runpage/plugin';
import { sidebarPlugin } from './sidebar/plugin';

export * from './tokens';
export default [
  modelPlugin,
  sidebarPlugin,
  runPagePlugin,
  comparePagePlugin,
  modelPagePlugin,
  chipsPlugin
];
