import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';
import { gradeOf, gradeText, gradeTitle } from '../grade';
import { isLive, type StoreModel } from '../model';

/** What runs, and how the notebook in front stands; a click leads to the panel. */
export class StatusItem extends ReactWidget {
  constructor(
    private readonly _model: StoreModel,
    private readonly _trans: TranslationBundle,
    private readonly _open: () => void
  ) {
    super();
    this.addClass('mlops-nb-StatusItem');
  }

  protected override render(): React.JSX.Element {
    return (
      <UseSignal signal={this._model.changed}>
        {() => <Status {...this._content()} open={this._open} />}
      </UseSignal>
    );
  }

  private _content(): { text: string; title: string } {
    const model = this._model;
    const trans = this._trans;
    const running = model.running.ids.length;
    const list = model.notebookRuns;
    const newest = list
      ? model.records.of(list).find(run => !isLive(run))
      : undefined;
    const grade = newest ? gradeOf(newest) : null;
    const parts: string[] = [];
    if (running > 0) {
      parts.push(trans._n('▶ %1 run', '▶ %1 runs', running));
    }
    if (grade) {
      parts.push(gradeText(grade, trans));
    }
    const title = [
      trans._n('%1 run is running', '%1 runs are running', running),
      ...(newest && grade
        ? [`${newest.name}: ${gradeTitle(grade, trans)}`]
        : [])
    ];
    return { text: parts.join(' · '), title: title.join('\n') };
  }
}

function Status(props: {
  text: string;
  title: string;
  open: () => void;
}): React.JSX.Element | null {
  return props.text === '' ? null : (
    <button
      type="button"
      className="mlops-nb-status-button"
      title={props.title}
      onClick={props.open}
    >
      {props.text}
    </button>
  );
}
