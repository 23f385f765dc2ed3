// Stands for react-custom-scrollbars-2, which is CommonJS: @grafana/ui imports its default from a `.mjs` file, for which esbuild, as Node does,
// takes the whole module and not what the module calls its default.
export { Scrollbars as default, Scrollbars } from '../node_modules/react-custom-scrollbars-2/lib/index.js';
