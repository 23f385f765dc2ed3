//! An ONNX file in; the protobuf of one graph out, which tract can be given. What tract cannot read is said here, by the
//! operator's name, before it is asked.

use std::{collections::HashSet, path::Path};

use tract_onnx::{
    Onnx,
    pb::{
        GraphProto, ModelProto, NodeProto, TensorProto,
        tensor_proto::{DataLocation, DataType},
    },
    prelude::Framework,
};

use super::config::file_name;

mod left;

pub(crate) use left::{Floats, Left};

/// Which graph of a file is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The file is one graph.
    Whole,
    /// The decoder that begins, of a merged file.
    First,
    /// The decoder that goes on, of a merged file.
    WithPast,
}

/// The input of a merged decoder that says which of its two is wanted.
const SWITCH: &str = "use_cache_branch";

/// Reads one graph of a file, and makes sure that its operators and its weights' files are at hand.
pub(crate) fn read(onnx: &Onnx, path: &Path, part: Part) -> Result<ModelProto, String> {
    let read = onnx.proto_model_for_path(path);
    one(
        onnx,
        path,
        part,
        read.map_err(|error| super::graph::one_line(&error))?,
    )
}

/// The same, with the values of its tensors left in the file.
pub(crate) fn read_without_values(
    onnx: &Onnx,
    path: &Path,
    part: Part,
) -> Result<(ModelProto, Left), String> {
    let (model, left) = Left::read(path).map_err(|error| error.to_string())?;
    Ok((one(onnx, path, part, model)?, left))
}

fn one(onnx: &Onnx, path: &Path, part: Part, mut model: ModelProto) -> Result<ModelProto, String> {
    let graph = model.graph.take().ok_or("it holds no graph")?;
    let mut graph = match part {
        Part::Whole => graph,
        Part::First => branch(graph, false)?,
        Part::WithPast => branch(graph, true)?,
    };
    // The shapes that a converter noted are those before ours are fixed: tract finds them itself, and these disagree.
    graph.value_info.clear();
    check(onnx, path, &graph)?;
    model.graph = Some(graph);
    Ok(model)
}

/// One of the two decoders of a merged one: the branch in place of the `If` that chooses, without what only the other
/// needs.
///
/// The branch with past repeats the encoder's keys and values as empty tensors, to have as many outputs as the other
/// (`optimum/onnx/graph_transformations.py`, `merge_decoders`): those are left out.
fn branch(mut graph: GraphProto, past: bool) -> Result<GraphProto, String> {
    let chooses = |node: &NodeProto| node.op_type == "If" && node.input.first().is_some_and(|i| i == SWITCH);
    let at = graph.node.iter().position(chooses);
    let at = at.ok_or_else(|| format!("no operator If chooses by {SWITCH}: it is no merged decoder"))?;
    let choice = graph.node.remove(at);
    let name = if past { "then_branch" } else { "else_branch" };
    let attribute = choice.attribute.into_iter().find(|a| a.name == name);
    let inner = attribute
        .and_then(|a| a.g)
        .ok_or_else(|| format!("the operator If has no {name}"))?;
    let renamed = inner
        .output
        .iter()
        .zip(&choice.output)
        .filter(|(inner, outer)| inner.name != **outer);
    let renamed = renamed.map(|(inner, outer)| NodeProto {
        op_type: "Identity".to_owned(),
        name: outer.clone(),
        input: vec![inner.name.clone()],
        output: vec![outer.clone()],
        ..NodeProto::default()
    });
    let after: Vec<NodeProto> = renamed.chain(graph.node.drain(at..)).collect();
    graph.node.extend(inner.node.into_iter().chain(after));
    graph.initializer.extend(inner.initializer);
    if past {
        graph.output.retain(|output| !output.name.contains(".encoder."));
    }
    prune(&mut graph);
    Ok(graph)
}

/// Leaves out the nodes, weights and inputs that no output needs.
fn prune(graph: &mut GraphProto) {
    let mut needed: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let mut kept = Vec::with_capacity(graph.node.len());
    // Nodes come in an order in which they can be run.
    for node in graph.node.drain(..).rev() {
        if node.output.iter().any(|output| needed.contains(output)) {
            needed.extend(node.input.iter().cloned());
            subgraphs(&node).for_each(|inner| captured(inner, &mut needed));
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    graph.initializer.retain(|tensor| needed.contains(&tensor.name));
    graph.input.retain(|input| needed.contains(&input.name));
}

/// All names that a graph within a node uses; those of its own are harmless among them.
fn captured(graph: &GraphProto, names: &mut HashSet<String>) {
    names.extend(graph.output.iter().map(|output| output.name.clone()));
    for node in &graph.node {
        names.extend(node.input.iter().cloned());
        subgraphs(node).for_each(|inner| captured(inner, names));
    }
}

fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().filter_map(|attribute| attribute.g.as_ref())
}

/// The weights and constants of a graph.
fn tensors(graph: &GraphProto) -> impl Iterator<Item = &TensorProto> {
    let constants = graph
        .node
        .iter()
        .flat_map(|node| node.attribute.iter().filter_map(|a| a.t.as_ref()));
    graph.initializer.iter().chain(constants)
}

/// Whether tract has every operator, whether weights are numbers and at hand, and whether every output is made by something:
/// tract takes it for granted.
fn check(onnx: &Onnx, path: &Path, graph: &GraphProto) -> Result<(), String> {
    for node in &graph.node {
        if !onnx.op_register.0.contains_key(&node.op_type) {
            let domain = if node.domain.is_empty() {
                "ai.onnx"
            } else {
                &node.domain
            };
            let (operator, node) = (&node.op_type, &node.name);
            return Err(format!(
                "the engine has no operator {operator} ({domain}), which the node {node} asks for"
            ));
        }
        subgraphs(node).try_for_each(|inner| check(onnx, path, inner))?;
    }
    tensors(graph).try_for_each(|tensor| check_tensor(path, tensor))?;
    let made: HashSet<&str> = graph
        .node
        .iter()
        .flat_map(|node| node.output.iter().map(String::as_str))
        .chain(graph.input.iter().map(|input| input.name.as_str()))
        .chain(graph.initializer.iter().map(|tensor| tensor.name.as_str()))
        .collect();
    match graph
        .output
        .iter()
        .find(|output| !made.contains(output.name.as_str()))
    {
        Some(output) => Err(format!("nothing makes its output {}", output.name)),
        None => Ok(()),
    }
}

/// Whether a weight is of numbers, and the file is there that it is said to be in.
fn check_tensor(path: &Path, tensor: &TensorProto) -> Result<(), String> {
    if tensor.data_type == DataType::String as i32 {
        return Err(format!("the weight {} is text", tensor.name));
    }
    if tensor.data_location != Some(DataLocation::External as i32) {
        return Ok(());
    }
    let location = tensor.external_data.iter().find(|entry| entry.key == "location");
    let location = location.ok_or_else(|| format!("the weight {} has no data", tensor.name))?;
    if path.with_file_name(&location.value).is_file() {
        return Ok(());
    }
    let (data, file) = (&location.value, file_name(path));
    Err(format!("its weights are in {data}, which is not beside {file}"))
}
