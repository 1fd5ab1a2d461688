// A sum as it leaves: with all its bits where they fit, else shifted to the right, rounded half up, and saturated.
module output_lane #(
    parameter int ACCUMULATOR = 24,
    parameter int OUTPUT = 32
) (
    input  wire signed [ACCUMULATOR-1:0] sum,
    input  wire [4:0]                    shift,
    output wire [OUTPUT-1:0]             value
);
    generate
        if (OUTPUT >= ACCUMULATOR) begin : raw
            wire signed [OUTPUT-1:0] wide = sum;
            assign value = wide;
        end else begin : narrowed
            localparam signed [ACCUMULATOR:0] LARGEST = (1 <<< (OUTPUT - 1)) - 1;
            localparam signed [ACCUMULATOR:0] LEAST = -(1 <<< (OUTPUT - 1));
            wire signed [ACCUMULATOR:0] wide = sum;
            wire signed [ACCUMULATOR:0] one = 1;
            wire signed [ACCUMULATOR:0] half = (one <<< shift) >>> 1;
            wire signed [ACCUMULATOR:0] shifted = (wide + half) >>> shift;
            assign value = shifted > LARGEST ? LARGEST[OUTPUT-1:0]
                         : shifted < LEAST ? LEAST[OUTPUT-1:0] : shifted[OUTPUT-1:0];
        end
    endgenerate
endmodule
