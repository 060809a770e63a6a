/** The commands of the extension; each takes `{ runId }` where it acts on a run. */
export const CommandIds = {
  openRun: 'mlops-nb:open-run',
  /** `{ run_ids }`: 2 to 50 runs, the first is the base. */
  openCompare: 'mlops-nb:open-compare',
  /** `{ name }`: a registered model. */
  openModel: 'mlops-nb:open-model',
  /** `{ path, cell_id }`: the notebook as the tag `mlops.notebook` has it. */
  goToCell: 'mlops-nb:go-to-cell',
  /** `{ path, runId }`: the run whose results stand at the cells. */
  showInNotebook: 'mlops-nb:show-in-notebook',
  toggleChips: 'mlops-nb:toggle-chips',
  refresh: 'mlops-nb:refresh',
  deleteRun: 'mlops-nb:delete-run',
  restoreRun: 'mlops-nb:restore-run',
  renameRun: 'mlops-nb:rename-run',
  copyRunId: 'mlops-nb:copy-run-id',
  focusSidebar: 'mlops-nb:focus-sidebar'
} as const;
