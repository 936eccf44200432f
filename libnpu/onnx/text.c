/* text.c - an ONNX model as text or JSON. */
#include "libnpu/json_text.h"
#include "libnpu/onnx/model.h"

static void print_dims(FILE *f, const int64_t *dim, int rank, const char *const *name)
{
    fputc('[', f);
    for (int i = 0; i < rank; i++)
        if (dim[i] < 0)
            fprintf(f, "%s\"%s\"", i ? ", " : "", name && name[i] ? name[i] : "");
        else
            fprintf(f, "%s%lld", i ? ", " : "", (long long)dim[i]);
    fputc(']', f);
}

static void print_attr(const struct om_attr *a, FILE *f, bool json)
{
    if (json)
        npu_json_text(f, a->name);
    else
        fputs(a->name, f);
    fputs(json ? ": " : "=", f);
    if (a->kind == OM_ATTR_FLOAT)
        fprintf(f, "%.9g", (double)a->f);
    else if (a->kind == OM_ATTR_INT)
        fprintf(f, "%lld", (long long)a->i);
    else if (a->kind == OM_ATTR_STRING)
        npu_json_text(f, a->s);
    else if (a->kind == OM_ATTR_INTS)
        print_dims(f, a->ints, a->n_ints, NULL);
    else if (a->kind == OM_ATTR_TENSOR)
        print_dims(f, a->t->shape.dim, a->t->shape.rank, NULL);
    else
        fprintf(f, "\"kind %d\"", a->kind);
}

/* FNV-1a over the bytes: tells tensors apart in a text. */
static uint64_t hash(const unsigned char *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static void text_value(const char *what, const struct om_value *v, FILE *f)
{
    fprintf(f, "%-7s %s %s ", what, v->name, om_type_name(v->type));
    if (v->rank < 0)
        fputs("of any shape", f);
    else
        print_dims(f, v->dim, v->rank, v->dim_name);
    fputc('\n', f);
}

static void text_node(const struct om_node *n, FILE *f)
{
    fputs("node   ", f);
    for (int i = 0; i < n->n_out; i++)
        fprintf(f, "%s %s", i ? "," : "", n->out[i]);
    fprintf(f, " = %s%s%s(", n->domain ? n->domain : "", n->domain && n->domain[0] ? "::" : "", n->op);
    for (int i = 0; i < n->n_in; i++)
        fprintf(f, "%s%s", i ? ", " : "", n->in[i]);
    fputc(')', f);
    for (int i = 0; i < n->n_attr; i++) {
        fputc(' ', f);
        print_attr(&n->attr[i], f, false);
    }
    fputc('\n', f);
}

static void print_text(const struct om_model *m, FILE *f)
{
    fprintf(f, "model   %s, opset %lld, IR version %lld, from %s\n", m->name, (long long)m->opset,
            (long long)m->ir_version, m->producer);
    for (int i = 0; i < m->n_inputs; i++)
        text_value("input", &m->input[i], f);
    for (int i = 0; i < m->n_outputs; i++)
        text_value("output", &m->output[i], f);
    for (int i = 0; i < m->n_tensors; i++) {
        const struct om_tensor *t = &m->tensor[i];

        fprintf(f, "tensor  %s %s ", t->name, om_type_name(t->type));
        print_dims(f, t->shape.dim, t->shape.rank, NULL);
        fprintf(f, " %016llx\n", (unsigned long long)hash(t->data, t->size));
    }
    for (int i = 0; i < m->n_nodes; i++)
        text_node(&m->node[i], f);
}

static void json_values(const char *key, const struct om_value *v, int n, FILE *f)
{
    fprintf(f, "\"%s\": [", key);
    for (int i = 0; i < n; i++) {
        fputs(i ? ", {\"name\": " : "{\"name\": ", f);
        npu_json_text(f, v[i].name);
        fprintf(f, ", \"type\": \"%s\", \"shape\": ", om_type_name(v[i].type));
        fputc('[', f);
        for (int k = 0; k < v[i].rank; k++) {
            fputs(k ? ", " : "", f);
            if (v[i].dim[k] < 0)
                npu_json_text(f, v[i].dim_name[k]);
            else
                fprintf(f, "%lld", (long long)v[i].dim[k]);
        }
        fputs("]}", f);
    }
    fputs("],\n ", f);
}

static void json_names(const char *key, const char *const *name, int n, FILE *f)
{
    fprintf(f, ", \"%s\": [", key);
    for (int i = 0; i < n; i++) {
        fputs(i ? ", " : "", f);
        npu_json_text(f, name[i]);
    }
    fputc(']', f);
}

static void json_node(const struct om_node *n, FILE *f)
{
    fputs("{\"op\": ", f);
    npu_json_text(f, n->op);
    fputs(", \"name\": ", f);
    npu_json_text(f, n->name);
    fputs(", \"domain\": ", f);
    npu_json_text(f, n->domain ? n->domain : "");
    json_names("inputs", n->in, n->n_in, f);
    json_names("outputs", n->out, n->n_out, f);
    fputs(", \"attributes\": {", f);
    for (int i = 0; i < n->n_attr; i++) {
        fputs(i ? ", " : "", f);
        print_attr(&n->attr[i], f, true);
    }
    fputs("}}", f);
}

static void print_json(const struct om_model *m, FILE *f)
{
    fputs("{\"name\": ", f);
    npu_json_text(f, m->name);
    fputs(", \"producer\": ", f);
    npu_json_text(f, m->producer);
    fprintf(f, ", \"opset\": %lld, \"ir_version\": %lld,\n ", (long long)m->opset, (long long)m->ir_version);
    json_values("inputs", m->input, m->n_inputs, f);
    json_values("outputs", m->output, m->n_outputs, f);
    fputs("\"initialisers\": [", f);
    for (int i = 0; i < m->n_tensors; i++) {
        fputs(i ? ",\n  {\"name\": " : "\n  {\"name\": ", f);
        npu_json_text(f, m->tensor[i].name);
        fprintf(f, ", \"type\": \"%s\", \"shape\": ", om_type_name(m->tensor[i].type));
        print_dims(f, m->tensor[i].shape.dim, m->tensor[i].shape.rank, NULL);
        fputc('}', f);
    }
    fputs("],\n \"nodes\": [", f);
    for (int i = 0; i < m->n_nodes; i++) {
        fputs(i ? ",\n  " : "\n  ", f);
        json_node(&m->node[i], f);
    }
    fputs("]}\n", f);
}

void om_print(const struct om_model *m, FILE *f, bool json)
{
    if (json)
        print_json(m, f);
    else
        print_text(m, f);
}

int npu_onnx_print(const char *path, const struct npu_onnx_opts *opts, FILE *out, bool json, char *message)
{
    const size_t max = opts && opts->max_file_bytes ? opts->max_file_bytes : INT32_MAX;
    struct om_model *m;
    const void *bytes;
    size_t size;
    int r = om_map(path, max, &bytes, &size, message);

    if (r < 0)
        return r;
    r = om_parse(bytes, size, opts, &m, message);
    if (r == 0)
        om_print(m, out, json);
    if (r == 0)
        om_free(m);
    om_unmap(bytes, size);
    return r;
}
