"""Every way in which the matrix operations can run on an OpenCL device, each against the C reference: the portable kernels of
GPUs, and the AMX tier over its emulated tile registers. (The register-blocked kernels are what `npu-ops test` runs anyway.)"""
import os
import subprocess

OPS = ["matmul", "conv2d", "conv2d_grad_x", "conv2d_grad_w", "attention", "attention_grad"]
NPU_OPS = os.path.join(os.environ.get("O", "build"), "bin", "npu-ops")


def run(op, env):
    return subprocess.run([NPU_OPS, "test", "--op", op, "--device", "cl"], env={**os.environ, **env}, timeout=300,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)


def main():
    cases = [(op, {"NPU_MAT_PORTABLE": "1"}) for op in OPS] + [(op, {"NPU_AMX_EMULATE": "1"}) for op in OPS[:4]]
    print("1..%d" % len(cases))
    for i, (op, env) in enumerate(cases, 1):
        name = "%s with %s" % (op, " ".join("%s=%s" % e for e in env.items()))
        p = run(op, env)
        if "no usable device" in p.stdout:
            print("ok %d - %s # SKIP no OpenCL device" % (i, name))
            continue
        for line in p.stdout.splitlines():
            if not line.startswith("pass"):
                print("# " + line)
        print("%s %d - %s" % ("ok" if p.returncode == 0 else "not ok", i, name))


if __name__ == "__main__":
    main()
