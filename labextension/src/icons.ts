import { LabIcon } from '@jupyterlab/ui-components';
import experimentsSvg from '../style/experiments.svg';

export const experimentsIcon = new LabIcon({
  name: 'mlops-nb:experiments',
  svgstr: experimentsSvg
});
