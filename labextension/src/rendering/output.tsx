import type { IMimeBundle } from '@jupyterlab/nbformat';
import { MessageLoop } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import React, { useContext, useEffect, useRef } from 'react';
import { useTrans } from '../components/trans';
import { textOf } from '../values';
import { RenderingContext } from './context';

/**
 * One output, rendered as JupyterLab renders what it does not trust: markup is
 * sanitized and nothing in it runs.
 */
export function MimeOutput(props: {
  data: IMimeBundle;
  metadata?: Record<string, unknown>;
}): React.JSX.Element {
  const { data } = props;
  const { rendermime } = useContext(RenderingContext);
  const trans = useTrans();
  const host = useRef<HTMLDivElement>(null);
  const text = JSON.stringify(data);
  useEffect(() => {
    const node = host.current;
    const mimeType = rendermime?.preferredMimeType(data, 'ensure');
    if (!node || !rendermime || mimeType === undefined) {
      return;
    }
    const renderer = rendermime.createRenderer(mimeType);
    const model = rendermime.createModel({ data, trusted: false });
    MessageLoop.sendMessage(renderer, Widget.Msg.BeforeAttach);
    node.append(renderer.node);
    MessageLoop.sendMessage(renderer, Widget.Msg.AfterAttach);
    void renderer.renderModel(model).catch((error: unknown) => {
      renderer.node.textContent = String(error);
    });
    return () => {
      MessageLoop.sendMessage(renderer, Widget.Msg.BeforeDetach);
      renderer.node.remove();
      MessageLoop.sendMessage(renderer, Widget.Msg.AfterDetach);
      renderer.dispose();
    };
  }, [rendermime, text]);
  const isShown = rendermime?.preferredMimeType(data, 'ensure') !== undefined;
  return isShown ? (
    <div ref={host} className="mlops-nb-output jp-OutputArea-output" />
  ) : (
    <pre className="mlops-nb-output">
      {typeof data['text/plain'] === 'string'
        ? data['text/plain']
        : trans.__('An output of type %1.', Object.keys(data).join(', '))}
    </pre>
  );
}

/** The outputs of a cell, as a notebook keeps them; other things are left out. */
export function Outputs(props: { outputs: unknown }): React.JSX.Element | null {
  const bundles = bundlesOf(props.outputs);
  return bundles.length === 0 ? null : (
    <div className="mlops-nb-outputs">
      {bundles.map((data, index) => (
        <MimeOutput key={index} data={data} />
      ))}
    </div>
  );
}

/** Outputs in the form of nbformat, or a text, as bundles by media type. */
export function bundlesOf(outputs: unknown): IMimeBundle[] {
  if (typeof outputs === 'string') {
    return outputs === '' ? [] : [{ 'text/plain': outputs }];
  }
  if (!Array.isArray(outputs)) {
    return [];
  }
  return outputs.flatMap((output: unknown) => {
    if (typeof output !== 'object' || output === null) {
      return [];
    }
    const fields = output as Record<string, unknown>;
    if (fields.output_type === 'stream') {
      return [{ 'application/vnd.jupyter.stdout': joined(fields.text) }];
    }
    if (fields.output_type === 'error') {
      const lines = Array.isArray(fields.traceback)
        ? (fields.traceback as unknown[]).map(String).join('\n')
        : `${String(fields.ename)}: ${String(fields.evalue)}`;
      return [{ 'application/vnd.jupyter.stderr': lines }];
    }
    const data = fields.data;
    return typeof data === 'object' && data !== null ? [plain(data)] : [];
  });
}

function plain(data: object): IMimeBundle {
  const bundle: IMimeBundle = {};
  for (const [type, value] of Object.entries(data) as [string, unknown][]) {
    bundle[type] = type.endsWith('json')
      ? (value as IMimeBundle[string])
      : joined(value);
  }
  return bundle;
}

function joined(text: unknown): string {
  return Array.isArray(text) ? text.map(String).join('') : textOf(text);
}
