/**
 * The commands of the extension. Those that act on runs take `{ runId }` or
 * `{ runIds }`; from the palette, with `{ isPalette: true }`, they act on what is
 * selected in the sidebar.
 */
export const CommandIds = {
  openRun: 'mlops-nb:open-run',
  refresh: 'mlops-nb:refresh',
  deleteRun: 'mlops-nb:delete-run',
  restoreRun: 'mlops-nb:restore-run',
  renameRun: 'mlops-nb:rename-run',
  copyRunId: 'mlops-nb:copy-run-id',
  focusSidebar: 'mlops-nb:focus-sidebar',
  tagRun: 'mlops-nb:tag-run',
  noteRun: 'mlops-nb:note-run',
  archiveRun: 'mlops-nb:archive-run',
  stopRun: 'mlops-nb:stop-run',
  selectRun: 'mlops-nb:select-run',
  compareRuns: 'mlops-nb:compare-runs',
  diffCells: 'mlops-nb:diff-cells',
  jumpToCell: 'mlops-nb:jump-to-cell',
  restoreNotebook: 'mlops-nb:restore-notebook',
  reproduceRun: 'mlops-nb:reproduce-run',
  filterRuns: 'mlops-nb:filter-runs',
  insertTracking: 'mlops-nb:insert-tracking',
  showKeys: 'mlops-nb:show-keys',
  /** `{ run_ids: string[], what?: 'cells' }`, the first one being the base. */
  openCompare: 'mlops-nb:open-compare',
  /** `{ name: string }` */
  openModel: 'mlops-nb:open-model',
  /** Those of an endpoint take `{ endpoint: string }`. */
  tryEndpoint: 'mlops-nb:try-endpoint',
  openEndpoint: 'mlops-nb:open-endpoint',
  copyEndpointUrl: 'mlops-nb:copy-endpoint-url',
  endpointLogs: 'mlops-nb:endpoint-logs',
  stopEndpoint: 'mlops-nb:stop-endpoint',
  /** Those of a runner take `{ runner: string }`, its id. */
  runnerLog: 'mlops-nb:runner-log',
  extendRunner: 'mlops-nb:extend-runner',
  stopRunner: 'mlops-nb:stop-runner',
  downRunner: 'mlops-nb:down-runner',
  /** `{ path: string, cell_id: string }`, the path below the server's root. */
  goToCell: 'mlops-nb:go-to-cell',
  /** `{ path, runId }`: the run whose results stand at the cells. */
  showInNotebook: 'mlops-nb:show-in-notebook',
  toggleChips: 'mlops-nb:toggle-chips'
} as const;
