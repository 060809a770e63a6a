import { chipsPlugin } from './chips/plugin';
import { comparePagePlugin } from './comparepage/plugin';
import { modelPlugin } from './model/plugin';
import { modelPagePlugin } from './modelpage/plugin';
import { runPagePlugin } from './runpage/plugin';
import { settingsPlugin } from './settingsplugin';
import { extrasPlugin } from './sidebar/extrasplugin';
import { sidebarPlugin } from './sidebar/plugin';

export * from './tokens';
export default [
  settingsPlugin,
  modelPlugin,
  sidebarPlugin,
  extrasPlugin,
  runPagePlugin,
  comparePagePlugin,
  modelPagePlugin,
  chipsPlugin
];
