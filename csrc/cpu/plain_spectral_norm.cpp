#include <cmath>
#include <vector>

#include "fastwgan/spectral_norm.h"
#include "plain_calls.h"
#include "plain_tensor.h"
#include "pooled_tensors.h"
#include "raise.h"

namespace py = pybind11;

namespace fastwgan {
namespace {

// Weights of one type, or what has their shapes: the layers, with the tensors that make them.
struct Layers {
  std::vector<DLTensor> tensors;
  std::vector<fw_spectral_norm_layer> extents;
  int bits = 0;
  int64_t vectors = 0;  // elements of all u and v

  // False when one is not plain, row-major and of the others' type, or has no dimension `dim`.
  bool read(const py::list& weights, const py::list& dims) {
    tensors.resize(weights.size());
    if (weights.empty() || weights.size() != dims.size()) return false;
    for (size_t i = 0; i < weights.size(); ++i) {
      PyObject* weight = PyList_GET_ITEM(weights.ptr(), static_cast<Py_ssize_t>(i));
      const int own = exact_plain_bits(weight, &tensors[i]);
      if (own == 0 || (i > 0 && own != bits) || !row_major(tensors[i]) || is_negated(weight))
        return false;
      bits = own;
      const long dim = PyLong_AsLong(PyList_GET_ITEM(dims.ptr(), static_cast<Py_ssize_t>(i)));
      if (dim == -1 && PyErr_Occurred()) throw py::error_already_set();
      if (dim < 0 || dim >= tensors[i].ndim) return false;
      add_extents(tensors[i], static_cast<int>(dim));
    }
    return true;
  }

  void add_extents(const DLTensor& tensor, int dim) {
    fw_spectral_norm_layer layer = {data_of(tensor), nullptr, nullptr, 1, tensor.shape[dim], 1};
    for (int d = 0; d < dim; ++d) layer.outer *= tensor.shape[d];
    for (int d = dim + 1; d < tensor.ndim; ++d) layer.inner *= tensor.shape[d];
    vectors += layer.rows + layer.outer * layer.inner;
    extents.push_back(layer);
  }

  int64_t count() const { return static_cast<int64_t>(extents.size()); }

  // The address of a plain vector of `size` elements of the weights' type, in `data`.
  bool read_vector(PyObject* object, int64_t size, void** data) const {
    DLTensor vector;
    if (exact_plain_bits(object, &vector) != bits || vector.ndim != 1 || vector.shape[0] != size)
      return false;
    *data = data_of(vector);
    return true;
  }

  bool read_vectors(const py::list& u, const py::list& v) {
    if (u.size() != extents.size() || v.size() != extents.size()) return false;
    for (size_t i = 0; i < extents.size(); ++i) {
      fw_spectral_norm_layer& layer = extents[i];
      const auto at = static_cast<Py_ssize_t>(i);
      if (!read_vector(PyList_GET_ITEM(u.ptr(), at), layer.rows, &layer.u) ||
          !read_vector(PyList_GET_ITEM(v.ptr(), at), layer.outer * layer.inner, &layer.v))
        return false;
    }
    return true;
  }

  // A new vector of the weights' type.
  py::object new_vector(int64_t size) const {
    int64_t stride = 1;
    DLTensor model = tensors[0];
    model.ndim = 1;
    model.shape = &size;
    model.strides = &stride;
    return pooled_like(model);
  }
};

// New tensors like the layers', with their addresses.
struct Outputs {
  py::list tensors;
  std::vector<void*> pointers;

  explicit Outputs(const Layers& layers) {
    for (const DLTensor& model : layers.tensors) {
      py::object output = pooled_like(model);
      pointers.push_back(address(output));
      tensors.append(std::move(output));
    }
  }

  static void* address(const py::object& tensor) {
    DLTensor read;
    if (torch_exchange().tensor_from_object(tensor.ptr(), &read) != 0)
      throw py::error_already_set();
    return data_of(read);
  }
};

template <class T, class Entry>
int run_forward(Entry entry, const Layers& layers, const Outputs& normalised, void* sigma,
                void* vectors, const fw_spectral_norm_options& options, int threads) {
  return entry(layers.extents.data(), reinterpret_cast<T* const*>(normalised.pointers.data()),
               static_cast<T*>(sigma), static_cast<T*>(vectors), layers.count(), &options, threads);
}

py::object plain_forward(const py::list& weights, const py::list& u, const py::list& v,
                         const py::list& dims, int64_t iterations, double epsilon, bool u_first,
                         int threads) {
  Layers layers;
  if (iterations < 0 || !(epsilon >= 0 && std::isfinite(epsilon)) || !layers.read(weights, dims) ||
      !layers.read_vectors(u, v))
    return py::none();
  const Outputs normalised(layers);
  const py::object sigma = layers.new_vector(layers.count());
  const py::object vectors = layers.new_vector(layers.vectors);
  void* const sigma_data = Outputs::address(sigma);
  void* const vectors_data = Outputs::address(vectors);
  {
    const py::gil_scoped_release released;
    const fw_spectral_norm_options options = {iterations, u_first, epsilon};
    check(layers.bits == 64 ? run_forward<double>(fw_spectral_norm_forward_f64, layers, normalised,
                                                  sigma_data, vectors_data, options, threads)
                            : run_forward<float>(fw_spectral_norm_forward_f32, layers, normalised,
                                                 sigma_data, vectors_data, options, threads),
          "spectral_norm");
  }
  return py::make_tuple(normalised.tensors, sigma, vectors);
}

// What the backward reads beside the cotangents; false when any of it is not as forward left it.
struct Saved {
  std::vector<void*> normalised;
  void *sigma = nullptr, *vectors = nullptr, *sigma_cotangents = nullptr;

  bool read(const Layers& layers, const py::list& outputs, const py::object& sigma_tensor,
            const py::object& vectors_tensor, const py::object& sigma_gradient) {
    if (outputs.size() != layers.extents.size()) return false;
    for (size_t i = 0; i < layers.extents.size(); ++i) {
      DLTensor output;
      PyObject* object = PyList_GET_ITEM(outputs.ptr(), static_cast<Py_ssize_t>(i));
      if (exact_plain_bits(object, &output) != layers.bits || !row_major(output) ||
          !same_shape(output, layers.tensors[i]))
        return false;
      normalised.push_back(data_of(output));
    }
    return layers.read_vector(sigma_tensor.ptr(), layers.count(), &sigma) &&
           layers.read_vector(vectors_tensor.ptr(), layers.vectors, &vectors) &&
           (sigma_gradient.is_none() ||
            layers.read_vector(sigma_gradient.ptr(), layers.count(), &sigma_cotangents));
  }
};

template <class T, class Entry>
int run_backward(Entry entry, const Layers& layers, const Saved& saved, const Outputs& gradients,
                 int threads) {
  std::vector<const T*> cotangents;
  for (const fw_spectral_norm_layer& layer : layers.extents)
    cotangents.push_back(static_cast<const T*>(layer.weight));
  return entry(layers.extents.data(), cotangents.data(),
               reinterpret_cast<const T* const*>(saved.normalised.data()),
               static_cast<const T*>(saved.sigma), static_cast<const T*>(saved.sigma_cotangents),
               static_cast<const T*>(saved.vectors),
               reinterpret_cast<T* const*>(gradients.pointers.data()), layers.count(), threads);
}

py::object plain_backward(const py::list& cotangents, const py::list& normalised,
                          const py::object& sigma, const py::object& vectors, const py::list& dims,
                          const py::object& sigma_cotangents, int threads) {
  Layers layers;
  Saved saved;
  if (!layers.read(cotangents, dims) ||
      !saved.read(layers, normalised, sigma, vectors, sigma_cotangents))
    return py::none();
  const Outputs gradients(layers);
  {
    const py::gil_scoped_release released;
    check(
        layers.bits == 64
            ? run_backward<double>(fw_spectral_norm_backward_f64, layers, saved, gradients, threads)
            : run_backward<float>(fw_spectral_norm_backward_f32, layers, saved, gradients, threads),
        "spectral_norm_backward");
  }
  return gradients.tensors;
}

}  // namespace

void bind_plain_spectral_norm(py::module_& m) {
  m.def("plain_spectral_norm", &plain_forward, py::arg("weights"), py::arg("u"), py::arg("v"),
        py::arg("dims"), py::arg("iterations"), py::arg("epsilon"), py::arg("u_first"),
        py::arg("threads"));
  m.def("plain_spectral_norm_backward", &plain_backward, py::arg("cotangents"),
        py::arg("normalised"), py::arg("sigma"), py::arg("vectors"), py::arg("dims"),
        py::arg("sigma_cotangents"), py::arg("threads"));
}

}  // namespace fastwgan
