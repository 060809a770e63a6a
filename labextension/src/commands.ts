import type { JupyterFrontEnd } from '@jupyterlab/application';
import { type ICommandPalette, Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import type { IRun } from './api';
import type { StoreModel } from './model';
import { messageOf } from './request';

/** The arguments of a command that acts on one run. */
export const RUN_ARGS = {
  type: 'object',
  properties: {
    runId: {
      type: 'string',
      description: 'The run; in a context menu, the run under the pointer.'
    }
  }
} as const;

/** The arguments of a command that acts on one run or several. */
export const RUNS_ARGS = {
  type: 'object',
  properties: {
    ...RUN_ARGS.properties,
    runIds: {
      type: 'array',
      items: { type: 'string' },
      description: 'The runs.'
    },
    isPalette: {
      type: 'boolean',
      description: 'Whether to act on what is selected in the sidebar.'
    }
  }
} as const;

/**
 * The run that a command is about: named in its arguments, or under the pointer
 * where the context menu was opened.
 */
export function runIdOf(
  app: JupyterFrontEnd,
  args: ReadonlyPartialJSONObject
): string | null {
  if (typeof args.runId === 'string') {
    return args.runId;
  }
  const node = app.contextMenuHitTest(n => n.dataset.runId !== undefined);
  return node?.dataset.runId ?? null;
}

/** What the commands that act on runs share. */
export class RunActions {
  constructor(
    readonly app: JupyterFrontEnd,
    readonly model: StoreModel,
    readonly trans: TranslationBundle,
    private readonly _palette: ICommandPalette | null
  ) {}

  /**
   * The runs that a command is about: named in its arguments; or, from the palette,
   * selected in the sidebar; or under the pointer, with all others that are selected
   * where that one is.
   */
  targets(args: ReadonlyPartialJSONObject): string[] {
    if (Array.isArray(args.runIds)) {
      return args.runIds.filter(id => typeof id === 'string');
    }
    const { selection } = this.model;
    if (args.isPalette === true) {
      const { active } = selection;
      return selection.ids.length > 0
        ? [...selection.ids]
        : active === null
          ? []
          : [active];
    }
    const runId = runIdOf(this.app, args);
    if (runId === null) {
      return [];
    }
    const isNamed = typeof args.runId === 'string';
    return !isNamed && selection.has(runId) ? [...selection.ids] : [runId];
  }

  /** The record of a run, asked of the server where it is not known. */
  async run(runId: string): Promise<IRun> {
    return this.model.records.get(runId) ?? (await this.model.readRun(runId));
  }

  /** How a run is called, for messages. */
  nameOf(runId: string): string {
    return this.model.records.get(runId)?.name ?? runId.slice(0, 8);
  }

  /** One run by its name, several by their number. */
  naming(runIds: readonly string[]): string {
    const [first] = runIds;
    return runIds.length === 1 && first !== undefined
      ? this.nameOf(first)
      : this.trans._n('%1 run', '%1 runs', runIds.length);
  }

  /** Add a command that acts on runs, to the registry and to the palette. */
  add(
    id: string,
    options: Omit<CommandRegistry.ICommandOptions, 'execute'> & {
      execute: (runIds: string[]) => unknown;
      /** What could not be done, where it fails. */
      failure: string;
    }
  ): void {
    const { execute, failure, ...rest } = options;
    this.app.commands.addCommand(id, {
      ...rest,
      describedBy: { args: RUNS_ARGS },
      execute: async args => {
        const runIds = this.targets(args);
        if (runIds.length === 0) {
          Notification.info(
            this.trans.__('Choose a run in the experiments panel first.')
          );
          return;
        }
        try {
          await execute(runIds);
        } catch (error) {
          this.fail(failure, error);
        }
      }
    });
    this._palette?.addItem({
      command: id,
      category: this.trans.__('Experiments'),
      args: { isPalette: true }
    });
  }

  /** Say that something did not work. */
  fail(what: string, error: unknown): void {
    Notification.error(`${what} ${messageOf(error)}`);
  }
}
