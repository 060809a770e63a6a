/** The commands of the extension; each takes `{ runId }` where it acts on a run. */
export const CommandIds = {
  openRun: 'mlops-nb:open-run',
  refresh: 'mlops-nb:refresh',
  deleteRun: 'mlops-nb:delete-run',
  restoreRun: 'mlops-nb:restore-run',
  renameRun: 'mlops-nb:rename-run',
  copyRunId: 'mlops-nb:copy-run-id',
  focusSidebar: 'mlops-nb:focus-sidebar'
} as const;
