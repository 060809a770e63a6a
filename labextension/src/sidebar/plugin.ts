import {
  ILabShell,
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { addCompareCommands } from '../actions/compare';
import { addEndpointCommands, ENDPOINT_MENU } from '../actions/endpoints';
import { addRunnerCommands, RUNNER_MENU } from '../actions/runners';
import { addNotebookCommands } from '../actions/notebooks';
import { addStopCommand } from '../actions/stop';
import { CommandIds } from '../commandids';
import { RunActions } from '../commands';
import { ENDPOINTS_CHANGED, EndpointApi } from '../endpointapi';
import { RunnerApi, RUNNERS_CHANGED } from '../runnerapi';
import { experimentsIcon } from '../icons';
import { Endpoints } from '../model/endpoints';
import { Runners } from '../model/runners';
import { Requester } from '../request';
import { IMlopsChoices, IMlopsModel, IMlopsSidebar } from '../tokens';
import type { ISidebarContext } from './context';
import { followNotebook, placeOfCell } from './follow';
import { Sidebar } from './sidebar';
import { SidebarState } from './viewstate';

const FOLDING = 'mlops-nb:folding';

/** The actions on a run in the context menu, by groups. */
const MENU: string[][] = [
  [CommandIds.openRun, CommandIds.compareRuns, CommandIds.diffCells],
  [
    CommandIds.jumpToCell,
    CommandIds.restoreNotebook,
    CommandIds.reproduceRun,
    CommandIds.stopRun
  ],
  [
    CommandIds.selectRun,
    CommandIds.tagRun,
    CommandIds.noteRun,
    CommandIds.renameRun,
    CommandIds.copyRunId
  ],
  [CommandIds.archiveRun, CommandIds.deleteRun]
];

/**
 * The experiments panel in the left area.
 */
export const sidebarPlugin: JupyterFrontEndPlugin<IMlopsSidebar> = {
  id: 'mlops-nb:sidebar',
  description: 'Lists the runs of the project beside the notebook, live.',
  autoStart: true,
  provides: IMlopsSidebar,
  requires: [IMlopsModel, IMlopsChoices],
  optional: [
    ITranslator,
    INotebookTracker,
    ILayoutRestorer,
    ICommandPalette,
    ILabShell,
    IStateDB
  ],
  activate: (
    app: JupyterFrontEnd,
    model: IMlopsModel,
    choices: IMlopsChoices,
    translator: ITranslator | null,
    notebooks: INotebookTracker | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    labShell: ILabShell | null,
    stateDB: IStateDB | null
  ): IMlopsSidebar => {
    const { commands, serviceManager, shell } = app;
    const { contents } = serviceManager;
    const trans = (translator ?? nullTranslator).load('mlops_nb');
    const state = new SidebarState();
    const endpoints = new Endpoints(
      new EndpointApi(new Requester(serviceManager.serverSettings))
    );
    const runners = new Runners(
      new RunnerApi(new Requester(serviceManager.serverSettings))
    );
    serviceManager.events.stream.connect((_, event) => {
      if (event.schema_id === RUNNERS_CHANGED) {
        runners.hint();
      }
      if (event.schema_id === ENDPOINTS_CHANGED) {
        endpoints.hint();
      }
    });
    const context: ISidebarContext = {
      model,
      endpoints,
      runners,
      choices,
      state,
      execute: (command, args) => {
        if (commands.hasCommand(command)) {
          void commands.execute(command, args);
        }
      },
      placeOf: (run, cell) =>
        notebooks &&
        placeOfCell(
          notebooks,
          contents,
          model.status?.project.root ?? '',
          run,
          cell
        ),
      openSettings: commands.hasCommand('settingeditor:open')
        ? () => {
            const query = 'Experiments';
            void commands.execute('settingeditor:open', { query });
          }
        : null
    };
    const sidebar = new Sidebar(context, trans);
    shell.add(sidebar, 'left', { rank: 250, type: 'Experiments' });
    restorer?.add(sidebar, sidebar.id);
    if (stateDB) {
      void stateDB.fetch(FOLDING).then(value => {
        if (typeof value === 'object' && value !== null) {
          state.folding = value as Record<string, boolean>;
        }
      });
      state.folded.connect(() => {
        void stateDB.save(FOLDING, state.folding);
      });
    }
    if (notebooks) {
      followNotebook(notebooks, contents, model);
    }

    const actions = new RunActions(app, model, trans, palette);
    addCompareCommands(actions);
    addStopCommand(actions);
    addNotebookCommands(actions, notebooks);
    addEndpointCommands(actions, endpoints);
    addRunnerCommands(actions, runners);
    addPanelCommands(actions, sidebar, labShell, palette);
    addMenu(app);
    return sidebar;
  }
};

function addPanelCommands(
  actions: RunActions,
  sidebar: Sidebar,
  labShell: ILabShell | null,
  palette: ICommandPalette | null
): void {
  const { app, trans } = actions;
  const { commands, shell } = app;
  const describedBy = { args: { type: 'object', properties: {} } } as const;
  const show = () => {
    labShell?.expandLeft();
    shell.activateById(sidebar.id);
  };
  commands.addCommand(CommandIds.focusSidebar, {
    label: args =>
      args.isLauncher ? trans.__('Experiments') : trans.__('Show Experiments'),
    caption: trans.__('Show the experiments panel and focus it'),
    icon: args => (args.isLauncher ? experimentsIcon : undefined),
    describedBy,
    execute: show
  });
  commands.addCommand(CommandIds.filterRuns, {
    label: trans.__('Filter Runs'),
    describedBy,
    execute: () => {
      show();
      sidebar.focusFilter();
    }
  });
  commands.addCommand(CommandIds.showKeys, {
    label: trans.__('Keys of the Experiments Panel'),
    describedBy,
    execute: async () => {
      const { showKeys } = await import('./help');
      await showKeys(trans);
    }
  });
  const category = trans.__('Experiments');
  for (const command of [
    CommandIds.focusSidebar,
    CommandIds.filterRuns,
    CommandIds.showKeys,
    CommandIds.insertTracking
  ]) {
    palette?.addItem({ command, category });
  }
}

function addMenu(app: JupyterFrontEnd): void {
  ENDPOINT_MENU.forEach((command, rank) => {
    const selector = '.mlops-nb-Sidebar [data-endpoint]';
    app.contextMenu.addItem({ command, selector, rank });
  });
  RUNNER_MENU.forEach((command, rank) => {
    const selector = '.mlops-nb-Sidebar [data-runner]';
    app.contextMenu.addItem({ command, selector, rank });
  });
  const selector = '.mlops-nb-Sidebar [data-run-id]';
  MENU.forEach((group, index) => {
    group.forEach((command, place) => {
      const rank = index * 10 + place;
      app.contextMenu.addItem({ command, selector, rank });
    });
    if (index < MENU.length - 1) {
      const rank = index * 10 + 9;
      app.contextMenu.addItem({ type: 'separator', selector, rank });
    }
  });
}
