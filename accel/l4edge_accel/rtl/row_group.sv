// Rows of one number format: ROWS dot products of the same activations.
module row_group #(
    parameter int KIND = 0,
    parameter int BITS = 1,
    parameter int SIGNIFICANT = 0,
    parameter int ROWS = 8,
    parameter int TERMS = 16,
    parameter int OPERAND = 8,
    parameter int FINISH = 0,
    parameter int ACCUMULATOR = 24,
    parameter int LEVELS = $clog2(TERMS)
) (
    input  wire                             clock,
    input  wire [ROWS*TERMS*BITS-1:0]       weights,
    input  wire [TERMS*OPERAND-1:0]         activations,
    input  wire signed [OPERAND+LEVELS-1:0] shared,
    input  wire [ROWS*ACCUMULATOR-1:0]      partial,   // sums so far
    output wire [ROWS*ACCUMULATOR-1:0]      sums       // and with this tile's products
);
    genvar r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : row
            wire signed [ACCUMULATOR-1:0] product_sum;
            wire carry;
            dot_row #(.KIND(KIND), .BITS(BITS), .SIGNIFICANT(SIGNIFICANT), .TERMS(TERMS), .OPERAND(OPERAND),
                      .FINISH(FINISH), .ACCUMULATOR(ACCUMULATOR))
                dot(.clock(clock), .weights(weights[r*TERMS*BITS +: TERMS*BITS]), .activations(activations),
                    .shared(shared), .sum(product_sum), .carry(carry));
            assign sums[r*ACCUMULATOR +: ACCUMULATOR] =
                partial[r*ACCUMULATOR +: ACCUMULATOR] + product_sum + {{(ACCUMULATOR-1){1'b0}}, carry};
        end
    endgenerate
endmodule
